"""Steps, done: each can be repeated, and one that fails is chosen again by the next look."""

import logging
from contextlib import suppress
from functools import partial

from csi.failover.deciding import Fence, Free, Mark, Pod, Retire, Step, Welcome
from csi.failover.nodes import add_taint, change_node, remove_our_taints
from csi.failover.objects import OURS, OUT_OF_SERVICE, TAINT, UNIQUE_NAME
from replication.control.control import Control
from replication.control.parallel import ask_all
from replication.errors import Conflict, NotFound, TrilithError
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

FENCE_SECONDS = 30.0
MARK: Json = {"key": TAINT, "value": OURS, "effect": "NoSchedule"}
RETIRED: Json = {"key": OUT_OF_SERVICE, "value": OURS, "effect": "NoExecute"}

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

    def tell_waits(self, node: str, why: str) -> None:
        self._tell(node, "failover-waits", f"fail-over of node {node}: {why}")

    def forget(self, node: str) -> None:
        """What was told of it may be told again."""
        self._told = {each for each in self._told if each[0] != node}

    def _do(self, step: Step) -> None:
        match step:
            case Mark():
                self._tell(step.node, "given-up", f"node {step.node} is given up: {step.why}")
                add_taint(self._client, step.node, MARK)
            case Fence():
                self._control.volumes.detach(step.volume_id, step.node, silent=True)
            case Free():
                self._free(step)
            case Retire():
                add_taint(self._client, step.node, RETIRED)
            case Welcome():
                remove_our_taints(self._client, step.node)
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

        change_node(self._client, node, make, "/status")

    def _tell_once(self, node: str, error: TrilithError) -> None:
        if (node, str(error)) not in self._told:
            self._told.add((node, str(error)))
            self.tell_waits(node, str(error))

    def _tell(self, node: str, kind: str, message: str) -> None:
        self._control.events.write(node, kind, message)
