"""What if we crash on this line? Every operation, killed at each call, is finished or undone later."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.insync import check
from replication.control.reconciler import Reconciler
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import TrilithError
from replication.model import GIB, Attachment, Phase
from tests.fakes.mortal import Died, Fuse, mortal_connect, mortal_store
from tests.fakes.node import FakeCluster

REQUEST = VolumeRequest("data", GIB, "nvme")
MOST_CALLS = 120


@dataclass
class World:
    """A cluster whose control plane may die; `control` is a healthy one."""

    cluster: FakeCluster
    store: MemoryStore
    control: Control

    def mortal(self, calls: int) -> Control:
        fuse = Fuse(calls)
        connect = mortal_connect(self.cluster.connect, fuse)
        return build_control(mortal_store(self.store, fuse), connect, SystemClock())

    def volume_id(self) -> str:
        found = self.store.find_volume("data")
        return found.volume.id if found else "v0"


def make_world() -> World:
    cluster, store = FakeCluster(["a", "b", "c"]), MemoryStore()
    control = build_control(store, cluster.connect, SystemClock())
    cluster.add_to(control)
    return World(cluster, store, control)


Act = Callable[[Control, World], object]


def create(control: Control, _: World) -> object:
    return control.volumes.create(REQUEST)


def attach(control: Control, world: World) -> object:
    return control.volumes.attach(world.volume_id(), "a")


def detach(control: Control, world: World) -> object:
    control.volumes.detach(world.volume_id(), "a")
    return None


def move(control: Control, world: World) -> object:
    detach(control, world)
    return control.volumes.attach(world.volume_id(), "b")


def expand(control: Control, world: World) -> object:
    return control.volumes.expand(world.volume_id(), 2 * GIB)


def delete(control: Control, world: World) -> object:
    control.volumes.delete(world.volume_id())
    return None


def silence_a(_: Control, world: World) -> object:
    world.cluster.node("a").silent = True
    return None


STORIES: dict[str, tuple[tuple[Act, ...], Act]] = {
    "create": ((), create),
    "attach": ((create,), attach),
    "detach": ((create, attach), detach),
    "move": ((create, attach), move),
    "expand": ((create,), expand),
    "expand attached": ((create, attach), expand),
    "delete": ((create,), delete),
    "delete after use": ((create, attach, detach), delete),
    "fence": ((create, attach, silence_a), detach),
}


@pytest.mark.parametrize("story", STORIES)
def test_an_operation_killed_at_any_call_ends_and_leaks_nothing(story: str) -> None:
    before, act = STORIES[story]
    for calls in range(MOST_CALLS):
        world = make_world()
        for step in before:
            step(world.control, world)
        died = kill_at(world, act, calls)
        recover(world)
        assert_sound(world, f"{story}, killed at call {calls}")
        if not died:
            return
        act(build_control(world.store, world.cluster.connect, SystemClock()), world)
        assert_sound(world, f"{story}, repeated after call {calls}")
    pytest.fail(f"{story} takes more than {MOST_CALLS} calls")


@pytest.mark.parametrize("story", [s for s in STORIES if s != "fence"])
def test_a_repeat_finishes_what_was_killed_at_any_call(story: str) -> None:
    before, act = STORIES[story]
    for calls in range(MOST_CALLS):
        world = make_world()
        for step in before:
            step(world.control, world)
        if not kill_at(world, act, calls):
            return
        act(build_control(world.store, world.cluster.connect, SystemClock()), world)
        recover(world)
        assert_sound(world, f"{story}, repeated after call {calls}")


@pytest.mark.parametrize("story", ["create", "attach", "delete", "expand"])
def test_a_node_that_dies_during_an_operation_costs_no_more_than_its_end(story: str) -> None:
    before, act = STORIES[story]
    for calls in range(12):
        world = make_world()
        for step in before:
            step(world.control, world)
        fuse_node(world, "c", calls)
        with suppress(TrilithError):
            act(world.control, world)
        world.cluster.node("c").silent = False
        world.cluster.node("c").__dict__.pop("_called", None)
        recover(world)
        assert_sound(world, f"{story}, node c dead from its call {calls}")


def kill_at(world: World, act: Act, calls: int) -> bool:
    try:
        act(world.mortal(calls), world)
    except Died:
        return True
    return False


def fuse_node(world: World, name: str, calls: int) -> None:
    """The node falls silent at its call number `calls`."""
    node = world.cluster.node(name)
    begin = len(node.calls)
    original = type(node)._called

    def called(call: str) -> None:
        node.silent = len(node.calls) - begin >= calls
        original(node, call)

    node.__dict__["_called"] = called


def recover(world: World) -> None:
    control = build_control(world.store, world.cluster.connect, SystemClock())
    for _ in range(3):
        Reconciler(control, SystemClock()).run_once()


def assert_sound(world: World, where: str) -> None:
    volumes = [found.volume for found in world.store.list_volumes()]
    for volume in volumes:
        assert volume.phase is Phase.READY, where
        assert volume.attachment in {Attachment.DETACHED, Attachment.ATTACHED}, where
        assert check(volume) == (), where
    named = {(v.id, r.id, r.node) for v in volumes for r in v.replicas}
    nodes = world.cluster.nodes.values()
    assert {(*key, node.name) for node in nodes for key in node.replicas} == named, where
    current = {(v.id, v.epoch) for v in volumes if v.consumer is not None}
    for node in nodes:
        if not node.silent:
            assert {(k[0], e.epoch) for k, e in node.exports.items()} <= current, where
            arrays = {(a.spec.volume_id, a.spec.epoch) for a in node.arrays.values()}
            assert arrays <= {(v.id, v.epoch) for v in volumes if v.consumer == node.name}, where
