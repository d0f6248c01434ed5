"""Who is who in a cluster: one authority for all controllers, for each node its own certificate."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from csi.certificates.asking import Asker, make_object
from csi.certificates.authority import ensure_authority
from csi.certificates.keeper import Keeper
from csi.certificates.places import NODE_ACCOUNT, REQUESTS, TRUST, WEBHOOK_CONFIGURATIONS, Places
from csi.main import main as trilith_csi
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock, wait_until
from replication.control.store.kubernetes import KubernetesStore
from replication.errors import FailedPrecondition, NotFound, Unauthenticated, Unavailable
from replication.identities import FolderIdentity
from replication.kubernetes.access import Access, Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import Node
from replication.pki import Holder, Role, check_identity, holder_of
from replication.rpc.client import NodeClient
from replication.rpc.server import serve_node
from replication.signing import make_request
from tests.contract.pretender import FACTS, Pretender
from tests.kubernetes.conftest import ACCOUNT, NAMESPACE
from tests.kubernetes.patience import CLOCK, SECONDS, patiently
from tests.kubernetes.pods import PodsOfNodes
from tests.unit.test_signing import build_odd

PLACES = Places(NAMESPACE)
DAY = 86400.0


class Later(SystemClock):
    """Some days from now."""

    def __init__(self, days: float) -> None:
        self._seconds = days * DAY

    def wall(self) -> float:
        return super().wall() + self._seconds


@pytest.fixture
def control(plane: ControlPlane, admin: Client) -> Iterator[Client]:  # noqa: ARG001 (it cleans up)
    client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
    yield client
    client.close()


@pytest.fixture
def pods(plane: ControlPlane, admin: Client) -> PodsOfNodes:
    return PodsOfNodes(plane, admin, NAMESPACE, NODE_ACCOUNT)


@pytest.fixture
def keeper(control: Client) -> Iterator[Keeper]:
    """Of a controller that runs, and has said whom to trust."""
    keeper, stop = patiently(lambda: Keeper(control, NAMESPACE, CLOCK, "controller-a")), threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: says_whom_to_trust(control), "whom to trust", timeout=SECONDS, clock=CLOCK)
        yield keeper
    finally:
        stop.set()
        thread.join()


def says_whom_to_trust(client: Client) -> bool:
    try:
        return TRUST in patiently(lambda: client.get(PLACES.config_map))["data"]
    except NotFound:
        return False


MakeAsker = Callable[..., Asker]


@pytest.fixture
def asker(pods: PodsOfNodes, tmp_path: Path) -> Iterator[MakeAsker]:
    """For `node`, from a pod on `pod_on`."""
    with ExitStack() as clients:

        def make(node: str, pod_on: str = "", clock: SystemClock = CLOCK) -> Asker:
            client = pods.connect(pod_on or node)
            clients.callback(client.close)
            return Asker(client, PLACES, node, tmp_path / node, clock)

        yield make


def test_controllers_that_start_at_once_have_one_authority(control: Client) -> None:
    patiently(lambda: control.get(f"{REQUESTS}"))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: ensure_authority(control, PLACES, CLOCK), range(8)))
    assert len({authority.ca_pem for authority in found}) == 1
    assert len({authority.key_pem for authority in found}) == 1


def test_a_node_and_a_controller_come_to_trust_each_other(
    keeper: Keeper, asker: MakeAsker, tmp_path: Path
) -> None:
    assert asker("m1").ensure()
    source = FolderIdentity(tmp_path / "m1")
    assert holder_of(source().certificate_pem) == Holder(Role.NODE, "m1")
    server = serve_node(Pretender(), "127.0.0.1:0", source)
    with NodeClient(Node("m1", f"127.0.0.1:{server.port}", ""), keeper.read_control) as client:
        assert client.describe() == FACTS
    server.stop(0)


def test_what_is_good_is_kept_and_what_is_due_is_renewed(
    keeper: Keeper, asker: MakeAsker, tmp_path: Path
) -> None:
    assert asker("m1").ensure()
    source = FolderIdentity(tmp_path / "m1")
    before = source()
    assert not asker("m1").ensure()
    assert not asker("m1", clock=Later(59)).ensure()
    assert asker("m1", clock=Later(61)).ensure()
    assert source().certificate_pem != before.certificate_pem
    assert source().key_pem != before.key_pem
    check_identity(source(), cluster_id=keeper.cluster_id)


@pytest.mark.usefixtures("keeper")
def test_a_node_cannot_have_the_certificate_of_another(asker: MakeAsker, tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated, match="asked for node:m2 by a pod on node m1: it is node:m1"):
        asker("m2", pod_on="m1").ensure()
    assert not (tmp_path / "m2").exists()


def ask(client: Client, holder: Holder) -> str:
    """The name of a request that nobody has answered."""
    _, request = make_request(holder)
    return str(client.create(REQUESTS, make_object(holder, request))["metadata"]["name"])


def wait_for_condition(client: Client, name: str, kind: str) -> str:
    """Its message."""
    found: list[str] = []

    def is_there() -> bool:
        status = client.get(f"{REQUESTS}/{name}")["status"]
        assert "certificate" not in status
        found[:] = [each["message"] for each in status.get("conditions", []) if each["type"] == kind]
        return bool(found)

    wait_until(is_there, f"request {name} {kind}", timeout=SECONDS, clock=CLOCK)
    return found[0]


@pytest.mark.usefixtures("keeper")
def test_nobody_but_an_agent_gets_one(admin: Client) -> None:
    said = wait_for_condition(admin, ask(admin, Holder(Role.NODE, "m1")), "Denied")
    assert said.startswith("administrator is not system:serviceaccount:trilith:trilith-node")


@pytest.mark.usefixtures("keeper")
def test_a_token_that_no_pod_has_is_not_enough(plane: ControlPlane, admin: Client) -> None:
    unbound = Client(read_kubeconfig(plane.kubeconfig(f"system:serviceaccount:{NAMESPACE}:{NODE_ACCOUNT}")))
    name = patiently(lambda: ask(unbound, Holder(Role.NODE, "m1")))
    assert "not bound to a pod" in wait_for_condition(admin, name, "Denied")
    unbound.close()


@pytest.mark.usefixtures("keeper")
def test_an_agent_cannot_become_a_controller(pods: PodsOfNodes, admin: Client) -> None:
    node = pods.connect("m1")
    name = ask(node, Holder(Role.CONTROL, "m1"))
    assert "asked for control:m1" in wait_for_condition(admin, name, "Denied")
    node.close()


@pytest.mark.usefixtures("keeper")
def test_a_request_that_nobody_understands_ends_no_controller(
    pods: PodsOfNodes, admin: Client, asker: MakeAsker
) -> None:
    """With a name that the API server passes over, and that our parser does not know: an x400Address."""
    node = pods.connect("m1")
    odd = make_object(Holder(Role.NODE, "m1"), build_odd("3002a300"))
    name = str(node.create(REQUESTS, odd)["metadata"]["name"])
    assert "not a request" in wait_for_condition(admin, name, "Denied")
    assert asker("m2").ensure()
    node.close()


def test_what_an_administrator_approves_by_mistake_is_not_signed(control: Client, admin: Client) -> None:
    name = ask(admin, Holder(Role.NODE, "m1"))
    condition = {"type": "Approved", "status": "True", "reason": "Mistake", "message": "looks good"}
    approval = {"op": "add", "path": "/status/conditions", "value": [condition]}
    admin.patch(f"{REQUESTS}/{name}/approval", [approval])
    keeper, stop = Keeper(control, NAMESPACE, CLOCK, "controller-a"), threading.Event()
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    assert "only agents get certificates" in wait_for_condition(admin, name, "Failed")
    stop.set()
    thread.join()


@pytest.mark.usefixtures("keeper")
def test_a_request_of_another_signer_is_left_alone(admin: Client, asker: MakeAsker) -> None:
    holder = Holder(Role.NODE, "m1")
    made = make_object(holder, make_request(holder)[1])
    made["spec"]["signerName"] = "example.org/other"
    name = admin.create(REQUESTS, made)["metadata"]["name"]
    assert asker("m1").ensure()  # by then it has been looked at
    assert admin.get(f"{REQUESTS}/{name}")["status"] == {}


@pytest.mark.usefixtures("keeper")
def test_a_node_that_has_one_needs_nobody_to_start_again(asker: MakeAsker, tmp_path: Path) -> None:
    assert asker("m1").ensure()
    nobody = Client(Access("http://127.0.0.1:1"))
    assert not Asker(nobody, PLACES, "m1", tmp_path / "m1", CLOCK).ensure()
    with pytest.raises(Unavailable):
        Asker(nobody, PLACES, "m1", tmp_path / "m1", Later(61)).ensure()


def test_a_node_waits_for_the_first_controller(control: Client, asker: MakeAsker, tmp_path: Path) -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(asker("m1").wait, stop)
        with pytest.raises(Unavailable, match="no controller has made it yet"):
            asker("m1").ensure()
        keeper = Keeper(control, NAMESPACE, CLOCK, "controller-a")
        running = threading.Thread(target=keeper.run, args=(stop,))
        running.start()
        assert waiting.result(SECONDS)
        stop.set()
        running.join()
    assert holder_of(FolderIdentity(tmp_path / "m1")().certificate_pem).name == "m1"


def test_an_authority_that_was_lost_is_made_anew_for_the_same_cluster(
    admin: Client, store: KubernetesStore, asker: MakeAsker, keeper: Keeper
) -> None:
    assert asker("m1").ensure()
    before = keeper.read_authority()
    store.list_nodes()
    admin.delete(PLACES.secret)
    keeper.look()
    after = keeper.read_authority()
    assert after.ca_pem != before.ca_pem
    assert after.cluster_id == store.cluster() == "cluster"
    check_identity(keeper.read_control(), cluster_id="cluster")
    assert asker("m1").ensure()
    assert not asker("m1").ensure()


def test_a_secret_that_is_no_authority_is_named(control: Client, admin: Client) -> None:
    junk = base64.b64encode(b"junk").decode()
    data = {"tls.crt": junk, "tls.key": junk}
    metadata = {"name": "trilith-ca"}
    admin.create(PLACES.secrets, {"metadata": metadata, "type": "kubernetes.io/tls", "data": data})
    with pytest.raises(FailedPrecondition, match=r"Secret trilith/trilith-ca.*delete it"):
        patiently(lambda: Keeper(control, NAMESPACE, CLOCK))


def test_the_api_server_is_told_to_trust_the_webhooks_and_told_again(control: Client, admin: Client) -> None:
    keeper = patiently(lambda: Keeper(control, NAMESPACE, CLOCK, "controller-a"))
    keeper.look()  # there are none yet, which is well
    wanted = base64.b64encode(keeper.read_authority().ca_pem).decode()
    for path in WEBHOOK_CONFIGURATIONS:
        admin.apply(path, webhooks_of(path))
    keeper.look()
    assert bundles(admin) == [wanted] * 4
    admin.patch(WEBHOOK_CONFIGURATIONS[0], [{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}])
    assert bundles(admin) != [wanted] * 4
    keeper.look()
    assert bundles(admin) == [wanted] * 4


def test_a_webhooks_certificate_is_for_its_service_and_gives_no_role(keeper: Keeper) -> None:
    identity = keeper.read_webhook()
    assert PLACES.webhook == "trilith-webhook.trilith.svc"
    with pytest.raises(Unauthenticated, match=r"trilith-webhook\.trilith\.svc has no role"):
        holder_of(identity.certificate_pem)


def test_a_controllers_certificates_are_renewed_in_time(control: Client) -> None:
    clock = Later(0)
    keeper = patiently(lambda: Keeper(control, NAMESPACE, clock, "controller-a"))
    before = keeper.read_control(), keeper.read_webhook()
    keeper.look()
    assert (keeper.read_control(), keeper.read_webhook()) == before
    clock._seconds = 61 * DAY
    keeper.look()
    assert keeper.read_control() != before[0]
    assert keeper.read_webhook() != before[1]


@pytest.mark.parametrize("path", [PLACES.secret, PLACES.secrets, "/apis/trilith.io/v1alpha1/volumes"])
def test_a_node_may_not_look_at(pods: PodsOfNodes, path: str) -> None:
    node = pods.connect("m1")
    with pytest.raises(Unavailable, match="forbidden"):
        node.get(path)
    node.close()


def webhooks_of(path: str) -> Json:
    """Two of them, which nothing is sent to."""
    kind = "MutatingWebhookConfiguration" if "mutating" in path else "ValidatingWebhookConfiguration"
    service = {"name": "trilith-webhook", "namespace": NAMESPACE}
    rule = {
        "apiGroups": ["example.org"],
        "apiVersions": ["v1"],
        "resources": ["things"],
        "operations": ["CREATE"],
    }
    hooks = [
        {
            "name": f"{name}.trilith.io",
            "clientConfig": {"service": service},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore",
        }
        for name in ("one", "two")
    ]
    version = "admissionregistration.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "trilith"}, "webhooks": hooks}


def bundles(client: Client) -> list[str | None]:
    return [
        hook["clientConfig"].get("caBundle")
        for path in WEBHOOK_CONFIGURATIONS
        for hook in client.get(path)["webhooks"]
    ]


def test_the_command_gets_a_certificate_by_the_token_of_its_pod(
    keeper: Keeper, plane: ControlPlane, pods: PodsOfNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(plane.admin_kubeconfig.read_text())
    config["users"][0]["user"] = {"token": pods.read_token("m1")}
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    words = ["identity", "--certs", str(tmp_path / "m1"), "--node"]
    assert CliRunner().invoke(trilith_csi, [*words, "m1"], catch_exceptions=False).exit_code == 0
    check_identity(FolderIdentity(tmp_path / "m1")(), cluster_id=keeper.cluster_id)
    refused = CliRunner().invoke(trilith_csi, [*words, "m2"], catch_exceptions=False)
    assert refused.exit_code == 1
    assert "asked for node:m2 by a pod on node m1" in refused.output
