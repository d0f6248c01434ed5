"""Trilith taken out of a cluster, before its controllers are: they delete volumes and give disks back."""

import logging
from contextlib import suppress

from csi.certificates.places import Places
from csi.failover.nodes import remove_our_taints
from csi.failover.objects import NODES, is_our_taint
from csi.identity import NAME
from csi.operator.resources import GUARD
from csi.removal.planning import (
    DeleteClaim,
    DeletePool,
    LetGo,
    Persistent,
    Plan,
    Scene,
    Step,
    Untaint,
    make_plan,
)
from csi.topology import CLUSTER_KEY, NODE_KEY
from replication.clock import Clock
from replication.errors import (
    Conflict,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    TimedOut,
    Unavailable,
)
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

INTERVAL = 2.0
GROUP = "trilith.io"
_OURS = f"/apis/{GROUP}/v1alpha1"
_VOLUMES, _POOL_RECORDS = f"{_OURS}/volumes", f"{_OURS}/poolrecords"
_PERSISTENT = "/api/v1/persistentvolumes"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

log = logging.getLogger(__name__)


class Removal:
    """Of one installation. It may be cut short anywhere, and begun again."""

    def __init__(self, client: Client, namespace: str, clock: Clock) -> None:
        self._client = client
        self._namespace = namespace
        self._places = Places(namespace)
        self._clock = clock
        self._told: set[str] = set()

    def run(self, *, everything: bool, timeout: float) -> None:
        """FailedPrecondition while there are volumes that are to stay; TimedOut, with what is left."""
        deadline = self._clock.now() + timeout
        while left := self._advance(everything=everything):
            if self._clock.now() >= deadline:
                raise TimedOut(f"not within {timeout:g} s: {left}")
            self._clock.sleep(INTERVAL)
        log.info("everything is gone" if everything else "disks are given back")

    def _advance(self, *, everything: bool) -> str:
        """What is left to do; empty when nothing is. What is refused now is tried again at the next look.

        As by a server that restarts, or by admission while its list of volumes is behind: helm takes a
        release whose hook has failed for uninstalling, and that takes hands to mend.
        """
        try:
            plan = self._look(everything=everything)
            self._go_on(plan)
            if everything and not plan.steps and not plan.waits:
                self._forget()
        except (Conflict, InvalidRequest, Unavailable) as error:
            self._tell(str(error))
            return str(error)
        return "; ".join(plan.waits or map(str, plan.steps))

    def _look(self, *, everything: bool) -> Plan:
        plan = make_plan(read_scene(self._client, self._namespace), everything=everything)
        if plan.refusal:
            raise FailedPrecondition(plan.refusal)
        return plan

    def _go_on(self, plan: Plan) -> None:
        for wait in plan.waits:
            self._tell(wait)
        for step in plan.steps:
            with suppress(NotFound):
                self._take(step)

    def _tell(self, wait: str) -> None:
        """Once."""
        if wait not in self._told:
            log.info("waiting: %s", wait)
            self._told.add(wait)

    def _take(self, step: Step) -> None:
        log.info("%s", step)
        match step:
            case LetGo(name):
                change = {"op": "replace", "path": "/spec/persistentVolumeReclaimPolicy", "value": "Delete"}
                self._client.patch(f"{_PERSISTENT}/{name}", [change])
            case DeleteClaim(claim):
                self._client.delete(_claim_path(claim))
            case DeletePool(pool):
                namespace, _, name = pool.partition("/")
                self._client.delete(f"{_OURS}/namespaces/{namespace}/storagepools/{name}")
            case Untaint(node):
                remove_our_taints(self._client, node)

    def _forget(self) -> None:
        """Records and their kinds, and the authority: a new installation is another cluster."""
        for definition in self._client.get(_DEFINITIONS)["items"]:
            if definition["spec"]["group"] == GROUP:
                with suppress(NotFound):
                    self._client.delete(f"{_DEFINITIONS}/{definition['metadata']['name']}")
        for path in (self._places.secret, self._places.config_map):
            with suppress(NotFound):
                self._client.delete(path)
        for node in self._client.get(NODES)["items"]:
            self._unlabel(node["metadata"])

    def _unlabel(self, node: Json) -> None:
        """The kubelet never does, and registers no plugin of a cluster that is called otherwise there.

        So a new installation would have no nodes (pkg/volume/csi/nodeinfomanager, updateTopologyLabels).
        """
        ours = {CLUSTER_KEY, NODE_KEY} & (node.get("labels") or {}).keys()
        if ours:
            steps = [{"op": "remove", "path": f"/metadata/labels/{_escape(key)}"} for key in sorted(ours)]
            with suppress(NotFound):
                self._client.patch(f"{NODES}/{node['name']}", steps)


def read_scene(client: Client, namespace: str) -> Scene:
    """Kinds that are not there any more have no objects. `namespace` is the installation's."""
    volumes = _list(client, _VOLUMES)
    found = [each for each in _list(client, _PERSISTENT) if _is_ours(each)]
    return Scene(
        volumes=tuple((each["metadata"]["name"], each["spec"]["name"]) for each in volumes),
        persistent=tuple(_read_persistent(client, each) for each in found),
        pools=tuple(_read_pool(each) for each in _list(client, f"{_OURS}/storagepools")),
        pool_records=tuple(each["metadata"]["name"] for each in _list(client, _POOL_RECORDS)),
        guards=tuple(each["metadata"]["name"] for each in _list(client, _budgets(namespace), GUARD)),
        given_up=tuple(each["metadata"]["name"] for each in _list(client, NODES) if _is_given_up(each)),
    )


def _budgets(namespace: str) -> str:
    return f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"


def _escape(key: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _list(client: Client, path: str, labels: str = "") -> list[Json]:
    try:
        found: list[Json] = client.get(path, labelSelector=labels)["items"]
    except NotFound:
        return []
    return found


def _is_ours(persistent: Json) -> bool:
    return bool(persistent["spec"].get("csi", {}).get("driver") == NAME)


def _is_given_up(node: Json) -> bool:
    return any(is_our_taint(each) for each in node["spec"].get("taints") or ())


def _read_persistent(client: Client, found: Json) -> Persistent:
    spec, reference = found["spec"], found["spec"].get("claimRef")
    claim = f"{reference['namespace']}/{reference['name']}" if reference else ""
    there = _find_claim(client, claim, reference["uid"]) if reference else None
    return Persistent(
        name=found["metadata"]["name"],
        volume_id=spec["csi"]["volumeHandle"],
        claim=claim if there is not None else "",
        retained=spec.get("persistentVolumeReclaimPolicy") != "Delete",
        going=there is not None and "deletionTimestamp" in there["metadata"],
    )


def _find_claim(client: Client, claim: str, uid: str) -> Json | None:
    """Not another one of the same name."""
    with suppress(NotFound):
        found = client.get(_claim_path(claim))
        return found if found["metadata"]["uid"] == uid else None
    return None


def _claim_path(claim: str) -> str:
    namespace, _, name = claim.partition("/")
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"


def _read_pool(found: Json) -> tuple[str, bool]:
    metadata = found["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}", "deletionTimestamp" in metadata
