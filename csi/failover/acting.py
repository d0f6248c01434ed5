"""Steps, done: each can be repeated, and one that fails is chosen again by the next look."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from csi.failover.deciding import Fence, Free, Mark, Pod, Retire, Step, Welcome
from csi.failover.objects import NODES, OURS, OUT_OF_SERVICE, TAINT, UNIQUE_NAME
from replication.control.control import Control
from replication.control.parallel import ask_all
from replication.errors import Conflict, InvalidRequest, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

FENCE_SECONDS = 30.0
ATTEMPTS = 5  # to change a node that others change as well

log = logging.getLogger(__name__)


class Actor:
    """The hands of the fail-over."""

    def __init__(self, client: Client, control: Control) -> None:
        self._client = client
        self._control = control
        self._told: set[tuple[str, str]] = set()

    def do(self, steps: tuple[Step, ...]) -> bool:
        """All at once; whether all succeeded. What did not is told once for each reason."""
        calls = {number: partial(self._do, step) for number, step in enumerate(steps)}
        answers = ask_all(calls, FENCE_SECONDS)
        failed = {number: found for number, found in answers.items() if isinstance(found, TrilithError)}
        for number, error in failed.items():
            self._tell_once(steps[number].node, error)
        return not failed

    def forget(self, node: str) -> None:
        """What was told of it may be told again."""
        self._told = {each for each in self._told if each[0] != node}

    def _do(self, step: Step) -> None:
        match step:
            case Mark():
                self._tell(step.node, "given-up", f"node {step.node} is given up: {step.why}")
                self._taint(step.node, {"key": TAINT, "value": OURS, "effect": "NoSchedule"})
            case Fence():
                self._control.volumes.detach(step.volume_id, step.node, silent=True)
            case Free():
                self._free(step)
            case Retire():
                self._taint(step.node, {"key": OUT_OF_SERVICE, "value": OURS, "effect": "NoExecute"})
            case Welcome():
                self._change_taints(step.node, lambda taints: [each for each in taints if not _is_ours(each)])
                self._tell(step.node, "welcome", f"node {step.node} is back and clean: it is used again")

    def _free(self, step: Free) -> None:
        if step.volume_ids:
            self._clear_in_use(step.node, {f"{UNIQUE_NAME}{volume}" for volume in step.volume_ids})
        for pod in step.pods:
            self._delete(pod, force=step.force)
            how = "for good" if step.force else "as usual"
            self._tell(
                step.node,
                "freed",
                f"pod {pod.namespace}/{pod.name} of node {step.node} is deleted {how}: "
                f"its volumes can be used elsewhere",
            )

    def _delete(self, pod: Pod, *, force: bool) -> None:
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        with suppress(NotFound, Conflict):  # it is gone, or another has its name by now
            self._client.delete(path, grace_seconds=0 if force else None, uid=pod.uid)

    def _clear_in_use(self, node: str, names: set[str]) -> None:
        """Of our volumes only: the kubelet that wrote them is gone."""

        def make(found: Json) -> Json | None:
            in_use = found["status"].get("volumesInUse") or []
            kept = [name for name in in_use if name not in names]
            return {"op": "add", "path": "/status/volumesInUse", "value": kept} if kept != in_use else None

        self._change(node, make, "/status")

    def _taint(self, node: str, taint: Json) -> None:
        def add(taints: list[Json]) -> list[Json]:
            there = any(each["key"] == taint["key"] and each["effect"] == taint["effect"] for each in taints)
            return taints if there else [*taints, taint]

        self._change_taints(node, add)

    def _change_taints(self, node: str, change: Callable[[list[Json]], list[Json]]) -> None:
        def make(found: Json) -> Json | None:
            taints = found["spec"].get("taints") or []
            wanted = change(taints)
            return {"op": "add", "path": "/spec/taints", "value": wanted} if wanted != taints else None

        self._change(node, make)

    def _change(self, node: str, make: Callable[[Json], Json | None], part: str = "") -> None:
        """By one step on the newest object. NotFound without one; Conflict when it never keeps still."""
        path = f"{NODES}/{node}"
        for _ in range(ATTEMPTS):
            found = self._client.get(path)
            step = make(found)
            if step is None:
                return
            version = found["metadata"]["resourceVersion"]
            test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
            with suppress(Conflict, InvalidRequest):  # it changed meanwhile
                self._client.patch(f"{path}{part}", [test, step])
                return
        raise Conflict(f"node {node} is being changed by others all the time")

    def _tell_once(self, node: str, error: TrilithError) -> None:
        if (node, str(error)) not in self._told:
            self._told.add((node, str(error)))
            self._tell(node, "failover-waits", f"fail-over of node {node}: {error}")

    def _tell(self, node: str, kind: str, message: str) -> None:
        self._control.events.write(node, kind, message)


def _is_ours(taint: Json) -> bool:
    return taint["key"] in {TAINT, OUT_OF_SERVICE} and taint.get("value") == OURS
