"""Taints of nodes that were given up are taken away, and nobody else's, while others write to nodes too."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from csi.failover.acting import MARK, RETIRED
from csi.failover.nodes import ATTEMPTS
from csi.failover.objects import NODES
from csi.removal.removing import Removal
from replication.errors import InvalidRequest, NotFound, TimedOut
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client
from tests.fakes.clock import HandClock

MINE: Json = {"key": "mine", "value": "trilith", "effect": "NoSchedule"}
BY_HAND: Json = {**RETIRED, "value": "nodeshutdown"}


class FakeApi:
    """Nodes, and nothing of Trilith; `busy` patches come too late, as somebody else wrote before."""

    def __init__(self, busy: int = 0, **taints: Sequence[Json]) -> None:
        self.taints = {name: list(found) for name, found in taints.items()}
        self.busy = busy
        self._version = 1

    def get(self, path: str, **_: str) -> Json:
        if path == NODES:
            return {"items": [self._node(name) for name in self.taints]}
        if path.endswith("/customresourcedefinitions"):
            return {"items": []}
        place, name = path.rsplit("/", 1)
        if place == NODES and name in self.taints:
            return self._node(name)
        raise NotFound(path)

    def patch(self, path: str, steps: Sequence[Mapping[str, Any]]) -> Json:
        test, step = steps
        assert (test["op"], step["path"]) == ("test", "/spec/taints")
        self._version += self.busy > 0
        self.busy -= self.busy > 0
        if test["value"] != str(self._version):
            raise InvalidRequest("the test of /metadata/resourceVersion failed")
        name = path.rpartition("/")[2]
        self.taints[name] = step["value"]
        return self._node(name)

    def delete(self, path: str) -> Json:
        raise NotFound(path)

    def _node(self, name: str) -> Json:
        metadata = {"name": name, "resourceVersion": str(self._version)}
        return {"metadata": metadata, "spec": {"taints": list(self.taints[name])}}


def remove(api: FakeApi, *, everything: bool = False) -> None:
    Removal(cast("Client", api), "trilith", HandClock()).run(everything=everything, timeout=60)


@pytest.mark.parametrize("everything", [False, True])
def test_both_taints_of_ours_go_and_others_stay(*, everything: bool) -> None:
    api = FakeApi(m1=[MARK, MINE, RETIRED], m2=[BY_HAND], m3=[], m4=[MARK])
    remove(api, everything=everything)
    assert api.taints == {"m1": [MINE], "m2": [BY_HAND], "m3": [], "m4": []}


def test_a_node_that_others_write_to_is_tried_again() -> None:
    api = FakeApi(ATTEMPTS + 1, m1=[MARK])
    remove(api)
    assert api.taints == {"m1": []}


def test_a_node_that_never_keeps_still_is_named() -> None:
    with pytest.raises(TimedOut, match="node m1 is being changed by others all the time"):
        remove(FakeApi(10_000, m1=[MARK]))
