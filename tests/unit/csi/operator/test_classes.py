"""Which classes are the operator's to take away, and what a pool says that has none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from csi.operator.classes import Classes, is_ours, make_attributes_classes, make_storage_class
from csi.operator.conditions import Condition
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client, Refused
from replication.kubernetes.watched import Watched
from tests.unit.csi.operator.values import pool

MADE = [make_storage_class(pool()), *make_attributes_classes(pool())]


def rename(made: Json, name: str) -> Json:
    return {**made, "metadata": {**made["metadata"], "name": name}}


@pytest.mark.parametrize("made", MADE, ids=lambda made: made["metadata"]["name"])
def test_a_copy_under_another_name_is_its_makers(made: Json) -> None:
    assert is_ours(made)
    assert not is_ours(rename(made, "fast"))
    assert not is_ours(rename(made, "trilith-nvme-fast"))


def test_a_storage_class_called_like_a_tier_is_its_makers() -> None:
    assert not is_ours(rename(make_storage_class(pool()), "trilith-nvme-premium"))


def test_what_others_drivers_have_is_theirs() -> None:
    assert not is_ours({**make_storage_class(pool()), "provisioner": "example.org"})
    assert not is_ours({**make_attributes_classes(pool())[0], "driverName": "example.org"})


@dataclass(frozen=True)
class Found:
    """An entry of a watch."""

    item: Json

    @property
    def name(self) -> str:
        return str(self.item["metadata"]["name"])

    def get(self) -> Json:
        return self.item


@dataclass
class Server:
    """Refuses all that would change anything. Its own watch, too."""

    items: Sequence[Json] = ()
    asked: list[str] = field(default_factory=list)

    def list(self) -> Sequence[Found]:
        return [Found(item) for item in self.items]

    def put(self, _: Json) -> None:
        pytest.fail("nothing was written that the watch could have")

    def create(self, *_: object) -> Json:
        return self._refuse("create")

    def patch(self, *_: object) -> Json:
        return self._refuse("patch")

    def delete(self, *_: object, uid: str) -> Json:
        return self._refuse(f"delete {uid}")

    def _refuse(self, what: str) -> Json:
        self.asked.append(what)
        raise Refused("403: policy says no")


def reconcile(server: Server) -> dict[str, Condition]:
    classes = Classes(
        cast("Client", server), cast("Watched[Json]", server), cast("Watched[Json]", Server(MADE[1:]))
    )
    return classes.reconcile([pool()])


def as_found(made: Json, **changes: object) -> Json:
    return {**made, **changes, "metadata": {**made["metadata"], "uid": "u1"}}


def test_a_pool_whose_class_may_not_be_made_says_what_the_server_says() -> None:
    said = reconcile(Server())["nvme"]
    assert (said.type, said.met, said.reason) == ("Ready", False, "ClassRefused")
    assert said.message == "StorageClass trilith-nvme is refused: 403: policy says no"


def test_so_does_one_whose_old_class_may_not_go() -> None:
    server = Server([as_found(MADE[0], reclaimPolicy="Retain")])
    assert reconcile(server)["nvme"].reason == "ClassRefused"
    assert server.asked == ["delete u1"]


def test_a_class_that_serves_but_for_its_labels_is_nobodys_trouble() -> None:
    unlabelled = {**MADE[0], "metadata": {"name": "trilith-nvme"}}
    server = Server([unlabelled])
    assert reconcile(server) == {}
    assert server.asked == ["patch"]


def test_a_class_of_another_drivers_is_left_alone_and_said() -> None:
    server = Server([as_found(MADE[0], provisioner="example.org")])
    said = reconcile(server)["nvme"]
    assert (said.met, said.reason) == (False, "ClassTaken")
    assert "StorageClass trilith-nvme is another driver's" in said.message
    assert server.asked == []
