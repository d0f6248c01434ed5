"""Trilith comes into a cluster by helm, and leaves it.

Never with somebody's data unless it was told so, and then whole.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from csi.certificates.authority import ensure_authority, ensure_trust
from csi.certificates.places import WEBHOOK_CONFIGURATIONS, Places
from csi.failover.acting import MARK, RETIRED
from csi.failover.nodes import add_taint
from csi.failover.objects import NODES, OUT_OF_SERVICE, TAINT
from csi.identity import NAME
from csi.main import main as trilith_csi
from csi.removal.removing import Removal
from csi.topology import CLUSTER_KEY, NODE_KEY
from hack.helm.chart import CHART, render, run_helm
from hack.kubernetes.manifests import apply_documents
from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import POOLS, VOLUMES
from replication.errors import (
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    TimedOut,
    TrilithError,
    Unavailable,
)
from replication.kubernetes.access import Access, Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB, Phase, Pool, Replica, ReplicaState, Volume
from tests.kubernetes.audit import write_policy
from tests.kubernetes.patience import CLOCK, patiently

NAMESPACE = "trilith"
STORAGE_POOLS = f"/apis/trilith.io/v1alpha1/namespaces/{NAMESPACE}/storagepools"
PERSISTENT = "/api/v1/persistentvolumes"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:trilith-uninstall"
RULES = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}


class Busy(SystemClock):
    """While it is slept, others work: what Kubernetes and our controllers would do."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.slept = 0.0

    def now(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self._work()


@pytest.fixture(scope="module")
def own_plane(audit: Path) -> Iterator[ControlPlane]:
    """Kinds are removed: nobody else may need them."""
    with ControlPlane(options=write_policy(audit / "release", NAMESPACE)) as running:
        yield running


@pytest.fixture
def admin(own_plane: ControlPlane) -> Iterator[Client]:
    """Of a cluster in which Trilith was installed by helm."""
    client = Client(read_kubeconfig(own_plane.admin_kubeconfig))
    words = ["--install", "trilith", str(CHART), "--namespace", NAMESPACE, "--create-namespace", "--no-hooks"]
    run_helm(["upgrade", *words], own_plane.admin_kubeconfig)
    yield client
    client.close()


@pytest.fixture
def store(admin: Client) -> Iterator[KubernetesStore]:
    patiently(lambda: admin.get(VOLUMES))
    cluster = ensure_authority(admin, Places(NAMESPACE), CLOCK).cluster_id
    store = KubernetesStore(admin, cluster, CLOCK, NAMESPACE)
    yield store
    store.close()


@pytest.fixture
def removal(own_plane: ControlPlane, admin: Client) -> Callable[..., None]:
    """Run as the hook of an installation with these settings, for a minute of its own time."""

    def run(*settings: str, everything: bool = False, work: Callable[[], None] = lambda: None) -> None:
        apply_documents(
            admin, [each for each in render(*settings) if is_hook(each) and each["kind"] in RULES]
        )
        client = Client(read_kubeconfig(own_plane.kubeconfig(ACCOUNT)))
        try:
            patiently(lambda: client.get(VOLUMES))
            Removal(client, NAMESPACE, Busy(work)).run(everything=everything, timeout=60)
        finally:
            client.close()

    return run


def is_hook(document: Json) -> bool:
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


class Others:
    """Kubernetes' controllers, csi-provisioner and the operator, one step at a time."""

    def __init__(self, admin: Client, store: KubernetesStore, *, pod_ends: bool = True) -> None:
        self._admin = admin
        self._store = store
        self._pod_ends = pod_ends
        self.log: list[str] = []

    def work(self) -> None:
        if self._pod_ends:
            self._let_go(CLAIMS)
        self._delete_volumes()
        self._release_pools()

    def _let_go(self, path: str) -> None:
        """Deleted and used by nobody."""
        for each in self._admin.get(path)["items"]:
            if "deletionTimestamp" in each["metadata"] and each["metadata"].get("finalizers"):
                with suppress(NotFound):
                    self._drop_finalizers(f"{path}/{each['metadata']['name']}")
                self.log.append(f"let go {each['metadata']['name']}")

    def _delete_volumes(self) -> None:
        """Of persistent volumes that have lost their claim."""
        claims = {each["metadata"]["uid"] for each in self._admin.get(CLAIMS)["items"]}
        for each in self._admin.get(PERSISTENT)["items"]:
            policy = each["spec"]["persistentVolumeReclaimPolicy"]
            if policy == "Delete" and each["spec"]["claimRef"]["uid"] not in claims:
                volume = each["spec"]["csi"]["volumeHandle"]
                self._store.remove_volume(volume, self._store.get_volume(volume).version)
                self._admin.delete(f"{PERSISTENT}/{each['metadata']['name']}")
                with suppress(NotFound):
                    self._drop_finalizers(f"{PERSISTENT}/{each['metadata']['name']}")
                self.log.append(f"deleted {volume}")

    def _release_pools(self) -> None:
        for each in self._admin.get(STORAGE_POOLS)["items"]:
            if "deletionTimestamp" in each["metadata"]:
                name = each["metadata"]["name"]
                self._store.remove_pool(name)
                self._drop_finalizers(f"{STORAGE_POOLS}/{name}")
                self.log.append(f"released {name}")

    def _drop_finalizers(self, path: str) -> None:
        self._admin.patch(path, [{"op": "remove", "path": "/metadata/finalizers"}])


class Shaky(Client):
    """Refuses the first question and the first deletion, as do a server that restarts, and a late list."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.refusals: list[TrilithError] = [InvalidRequest("pool nvme holds volumes"), Unavailable("away")]

    def get(self, path: str, **query: str) -> Json:
        if len(self.refusals) == 2:
            raise self.refusals.pop()
        return super().get(path, **query)

    def delete(self, path: str, *, grace_seconds: int | None = None, **preconditions: str) -> Json:
        if self.refusals:
            raise self.refusals.pop()
        return super().delete(path, grace_seconds=grace_seconds, **preconditions)


def make_pool(admin: Client, store: KubernetesStore) -> None:
    metadata = {"name": "nvme", "finalizers": ["trilith.io/pool"]}
    kind = {"apiVersion": "trilith.io/v1alpha1", "kind": "StoragePool"}
    admin.create(STORAGE_POOLS, {**kind, "metadata": metadata, "spec": {"replicas": 1}})
    store.add_pool(Pool("nvme", ("m1",), 1))


def make_volume(admin: Client, store: KubernetesStore, policy: str = "Delete") -> None:
    """With its claim, as csi-provisioner leaves it."""
    replica = Replica("r0", "m1", f"trilith-{0:016x}", ReplicaState.IN_SYNC)
    store.add_volume(Volume("v1", "pvc-1", "nvme", GIB, 1 << 16, 1, Phase.READY, (replica,), next_replica=1))
    sizes = {"accessModes": ["ReadWriteOnce"], "volumeName": "pvc-1", "storageClassName": "trilith-nvme"}
    spec = {**sizes, "resources": {"requests": {"storage": "1Gi"}}}
    claim = admin.create(CLAIMS, {"metadata": {"name": "data"}, "spec": spec})
    reference = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "csi": {"driver": NAME, "volumeHandle": "v1"},
        "claimRef": reference,
        "persistentVolumeReclaimPolicy": policy,
    }
    admin.create(PERSISTENT, {"metadata": {"name": "pvc-1"}, "spec": spec})


def make_node(admin: Client, name: str, labels: dict[str, str]) -> None:
    """As a kubelet leaves it that has registered a plugin."""
    admin.create(NODES, {"kind": "Node", "metadata": {"name": name, "labels": labels}})


def definitions(admin: Client) -> list[str]:
    found = [each["metadata"]["name"] for each in admin.get(DEFINITIONS)["items"]]
    return [name for name in found if name.endswith(".trilith.io")]


def test_an_upgrade_keeps_what_controllers_wrote(own_plane: ControlPlane, admin: Client) -> None:
    authority = patiently(lambda: ensure_authority(admin, Places(NAMESPACE), CLOCK))
    ensure_trust(admin, Places(NAMESPACE), authority.ca_pem)
    words = ["trilith", str(CHART), "--namespace", NAMESPACE, "--set", "claims=Never"]
    run_helm(["upgrade", *words], own_plane.admin_kubeconfig)
    trust = base64.b64encode(authority.ca_pem).decode()
    hooks = [hook for path in WEBHOOK_CONFIGURATIONS for hook in admin.get(path)["webhooks"]]
    assert hooks
    assert {hook["clientConfig"]["caBundle"] for hook in hooks} == {trust}
    controller = admin.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/trilith-controller")
    assert "--claims=Never" in controller["spec"]["template"]["spec"]["containers"][0]["args"]
    assert ensure_authority(admin, Places(NAMESPACE), CLOCK).key_pem == authority.key_pem


def test_data_stays_until_everything_is_to_go_and_no_pod_uses_it(
    own_plane: ControlPlane,
    admin: Client,
    store: KubernetesStore,
    removal: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_pool(admin, store)
    make_volume(admin, store)
    with pytest.raises(FailedPrecondition, match=r"there are volumes: pvc-1; delete them first"):
        removal()
    monkeypatch.setenv("KUBECONFIG", str(own_plane.kubeconfig(ACCOUNT)))
    refused = CliRunner().invoke(trilith_csi, ["uninstall"])
    assert (refused.exit_code, "there are volumes: pvc-1" in refused.output) == (1, True)
    assert "deletionTimestamp" not in admin.get(f"{CLAIMS}/data")["metadata"]
    using = Others(admin, store, pod_ends=False)
    with pytest.raises(TimedOut, match=r"claim default/data is there as long as a pod uses it"):
        removal("uninstall.removeEverything=true", everything=True, work=using.work)
    assert store.get_volume("v1").volume.name == "pvc-1"
    assert "deletionTimestamp" not in admin.get(f"{STORAGE_POOLS}/nvme")["metadata"]
    others = Others(admin, store)
    removal("uninstall.removeEverything=true", everything=True, work=others.work)
    assert others.log == ["let go data", "deleted v1", "released nvme"]
    for path in (Places(NAMESPACE).secret, f"{CLAIMS}/data", f"{PERSISTENT}/pvc-1"):
        with pytest.raises(NotFound):
            admin.get(path)
    assert [each for each in definitions(admin) if not is_going(admin, each)] == []


def is_going(admin: Client, definition: str) -> bool:
    with suppress(NotFound):
        return "deletionTimestamp" in admin.get(f"{DEFINITIONS}/{definition}")["metadata"]
    return True


def test_without_volumes_pools_give_their_disks_back_and_records_stay(
    own_plane: ControlPlane, admin: Client, store: KubernetesStore, removal: Callable[..., None]
) -> None:
    """helm then runs without its hooks, whose work was done here."""
    make_pool(admin, store)
    others = Others(admin, store)
    removal(work=others.work)
    assert others.log == ["released nvme"]
    assert admin.get(POOLS.path)["items"] == []
    run_helm(["uninstall", "trilith", "--namespace", NAMESPACE, "--no-hooks"], own_plane.admin_kubeconfig)
    assert len(definitions(admin)) == len(list((CHART / "files/crds").iterdir()))
    assert admin.get(Places(NAMESPACE).secret)


def test_what_is_refused_for_a_moment_is_tried_again(
    own_plane: ControlPlane, admin: Client, store: KubernetesStore
) -> None:
    make_pool(admin, store)
    others, client = Others(admin, store), Shaky(read_kubeconfig(own_plane.admin_kubeconfig))
    Removal(client, NAMESPACE, Busy(others.work)).run(everything=False, timeout=60)
    assert others.log == ["released nvme"]
    assert client.refusals == []
    client.close()


def test_a_retained_volume_is_let_go_when_everything_goes(
    admin: Client, store: KubernetesStore, removal: Callable[..., None]
) -> None:
    make_volume(admin, store, policy="Retain")
    others = Others(admin, store)
    removal("uninstall.removeEverything=true", everything=True, work=others.work)
    assert others.log == ["let go data", "deleted v1"]


def test_nodes_are_not_called_after_a_cluster_that_is_gone(
    admin: Client, store: KubernetesStore, removal: Callable[..., None]
) -> None:
    """A kubelet would register no plugin of the next one."""
    labels = {"zone": "z1", CLUSTER_KEY: store.cluster(), NODE_KEY: "m1"}
    make_node(admin, "m1", labels)
    make_node(admin, "m2", {"zone": "z2"})
    removal()
    assert labels.items() <= admin.get(f"{NODES}/m1")["metadata"]["labels"].items()
    removal("uninstall.removeEverything=true", everything=True)
    found = {each["metadata"]["name"]: each["metadata"]["labels"] for each in admin.get(NODES)["items"]}
    assert {name: set(labels) & {"zone", CLUSTER_KEY, NODE_KEY} for name, labels in found.items()} == {
        "m1": {"zone"},
        "m2": {"zone"},
    }


@pytest.mark.parametrize("everything", [False, True])
def test_nodes_that_were_given_up_keep_no_taint_of_ours(
    admin: Client, store: KubernetesStore, removal: Callable[..., None], *, everything: bool
) -> None:
    """An administrator's own stay, of the same key too."""
    name = f"dead-{everything}".lower()
    make_node(admin, name, {})
    make_node(admin, f"{name}-by-hand", {})
    for taint in (MARK, RETIRED, {**MARK, "key": "mine"}):
        add_taint(admin, name, taint)
    add_taint(admin, f"{name}-by-hand", {**RETIRED, "value": "nodeshutdown"})
    make_pool(admin, store)
    others = Others(admin, store)
    settings = ("uninstall.removeEverything=true",) if everything else ()
    removal(*settings, everything=everything, work=others.work)
    assert list_taints(admin, name) & {TAINT, OUT_OF_SERVICE, "mine"} == {"mine"}
    assert OUT_OF_SERVICE in list_taints(admin, f"{name}-by-hand")


def list_taints(admin: Client, node: str) -> set[str]:
    return {each["key"] for each in admin.get(f"{NODES}/{node}")["spec"].get("taints", [])}
