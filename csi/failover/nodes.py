"""Node objects, changed while others change them as well."""

from collections.abc import Callable
from contextlib import suppress

from csi.failover.objects import NODES, is_our_taint
from replication.errors import Conflict, InvalidRequest
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client

ATTEMPTS = 5


def add_taint(client: Client, node: str, taint: Json) -> None:
    """Unless there is one of its key and effect, whoever's."""

    def add(taints: list[Json]) -> list[Json]:
        there = any(each["key"] == taint["key"] and each["effect"] == taint["effect"] for each in taints)
        return taints if there else [*taints, taint]

    _change_taints(client, node, add)


def remove_our_taints(client: Client, node: str) -> None:
    """Both, in one step: whoever leads goes on with a node that has the first."""
    _change_taints(client, node, lambda taints: [each for each in taints if not is_our_taint(each)])


def change_node(client: Client, node: str, make: Callable[[Json], Json | None], part: str = "") -> None:
    """By one step on the newest object. NotFound without one; Conflict when it never keeps still."""
    path = f"{NODES}/{node}"
    for _ in range(ATTEMPTS):
        found = client.get(path)
        step = make(found)
        if step is None:
            return
        version = found["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        with suppress(Conflict, InvalidRequest):  # it changed meanwhile
            client.patch(f"{path}{part}", [test, step])
            return
    raise Conflict(f"node {node} is being changed by others all the time")


def _change_taints(client: Client, node: str, change: Callable[[list[Json]], list[Json]]) -> None:
    def make(found: Json) -> Json | None:
        taints = found["spec"].get("taints") or []
        wanted = change(taints)
        return {"op": "add", "path": "/spec/taints", "value": wanted} if wanted != taints else None

    change_node(client, node, make)
