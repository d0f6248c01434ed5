"""What a new agent finds assembled."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from replication.agent.members import Joint, Members, Remote
from replication.agent.names import NQN_PREFIX, HoldName
from replication.agent.node import read_back_arrays
from replication.agent.release import break_off, clear_away, obey
from replication.errors import FailedPrecondition, TimedOut
from replication.kernel import md, md_members
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Command, Request, Target
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.kernel.md_state import array_path, read_array
from replication.kernel.nvme import Controller, NvmeHost
from replication.model import Confirmation
from tests.fakes.clock import HandClock
from tests.unit.agent.fake_machine import fake_machine, no_local
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v00000000000000aa"
ACTIVE = (f"{array_path(VOLUME)}/array_state", "active")
TABLE = "3 queue_if_no_path queue_mode bio 0 1 1 service-time 0 1 1 259:1 1"
WORD = Confirmation(VOLUME, 4, record_version=9, in_sync=("r0", "r1"), rebuilding=(), report=1)


@pytest.fixture
def members(tree: FakeMd) -> Iterator[Members]:
    """Of an array that is not active yet."""
    control = FakeControl()
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(3):
        tree.add_block_device(f"sd{number}", f"259:{number}", 64 * MIB)
        holds.ensure(str(HoldName(VOLUME, f"r{number}", 4)), f"259:{number}", 64 * MIB)
    specs = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(3))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, 65536, specs, resync=False))
    machine = replace(fake_machine(tree, holds), host=NvmeHost(tree))
    yield Members(machine, no_local)
    control.close()


def test_what_waits_since_an_agent_died_that_had_kept_it_waiting_is_woken(
    members: Members, tree: FakeMd
) -> None:
    md.activate(tree, VOLUME)
    tree.put(f"{array_path(VOLUME)}/suspend_hi", "9223372036854775807")
    (array,) = read_back_arrays(members._machine, members)
    assert (array.epoch, sorted(array.members), array.writes_kept) == (4, ["r0", "r1", "r2"], True)
    assert tree.written[-1] == ACTIVE


def test_a_write_that_waits_for_the_record_goes_on_waiting(members: Members, tree: FakeMd) -> None:
    md.activate(tree, VOLUME)
    md_members.fail_member(tree, VOLUME, "dm-2")
    read_back_arrays(members._machine, members)
    assert read_array(tree, VOLUME).write_pending


@pytest.mark.parametrize("waits", [False, True])
def test_a_layer_that_an_agent_died_over_goes_on(members: Members, tree: FakeMd, *, waits: bool) -> None:
    """Between two steps of letting it grow. All writes wait, and nobody calls a member lost.

    Or in the second, that waits for what is under way: the kernel leaves a layer that holds nothing.
    """
    md.activate(tree, VOLUME)
    holds, name = members._machine.holds, str(HoldName(VOLUME, "r1", 4))
    holds._mapper.load(name, (Target(0, 8, "multipath", TABLE),))
    if waits:
        cast("FakeControl", holds._mapper._control).presuspend(name)
    else:
        holds._mapper.suspend(name)
    (array,) = read_back_arrays(members._machine, members)
    assert not holds._mapper.get(name).suspended
    assert holds.read(name).queueing
    assert array.released() == frozenset()


def test_a_dropped_member_that_has_another_table_since_lets_go_again(
    members: Members, tree: FakeMd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was growing: what it held has followed the new table, which holds."""
    md.activate(tree, VOLUME)
    (array,) = read_back_arrays(members._machine, members)
    obey(members._machine, array, WORD)
    holds, name = members._machine.holds, str(HoldName(VOLUME, "r2", 4))
    holds.reload(name, "259:2", 64 * MIB)
    monkeypatch.setattr("replication.agent.release.remove_member", keeps_requests)
    clear_away(members._machine, members, array)
    assert not holds.read(name).queueing


@pytest.mark.parametrize("loaded", [False, True])
def test_a_layer_that_an_agent_died_over_before_it_was_one_goes(
    members: Members, tree: FakeMd, loaded: bool
) -> None:
    """Made, and without a table in force (dm-ioctl.c): with one loaded it keeps the device below open."""
    md.activate(tree, VOLUME)
    holds, name = members._machine.holds, str(HoldName("v00000000000000bb", "r1", 2))
    holds._mapper._ask(Command.CREATE, Request(name=name, uuid=name))
    if loaded:
        holds._mapper.load(name, (Target(0, 8, "multipath", "3 queue_if_no_path queue_mode bio 0 1 1"),))
    assert [state.name for _, state in members.find_holds("v00000000000000bb")] == []
    (array,) = read_back_arrays(members._machine, members)
    assert (array.volume_id, holds.list_names(name)) == (VOLUME, ())


class Connected(NvmeHost):
    """Every device comes over the network."""

    def __init__(self, tree: FakeMd) -> None:
        super().__init__(tree)
        self.done: list[str] = []
        self.tells = False  # which connection is whose

    def find_controller_of(self, namespace: str) -> Controller | None:
        name, where = f"nvme{namespace[-1]}", "traddr=192.0.2.1,trsvcid=4420"
        return Controller(name, f"{NQN_PREFIX}{VOLUME}:r1:e4", "connecting", where, "host")

    def stop_holding(self, controller: str) -> None:
        self.done.append(f"stop {controller}")

    def break_own(self, controller: str, address: str, port: int) -> bool:
        return self.tells

    def delete_controller(self, controller: str, *, timeout: float = 20.0) -> None:
        self.done.append(f"delete {controller}")
        raise TimedOut("it goes on")


def test_what_a_dropped_members_connection_keeps_is_let_go_though_an_agent_died_before(
    members: Members, tree: FakeMd
) -> None:
    """Its hold layer had been told to fail already; nvme-tcp keeps what its peer has not answered."""
    md.activate(tree, VOLUME)
    host = Connected(tree)
    members._machine = replace(members._machine, host=host)
    md_members.fail_member(tree, VOLUME, "dm-2")
    members._machine.holds.release(str(HoldName(VOLUME, "r2", 4)))
    read_back_arrays(members._machine, members)
    assert host.done == ["stop nvme2", "delete nvme2"]
    assert not read_array(tree, VOLUME).write_pending


@pytest.mark.parametrize(
    ("suspected", "flushed", "broken"), [("", 1.0, False), ("silent", 1.0, True), ("", -math.inf, True)]
)
def test_a_member_that_answers_is_dropped_without_breaking_what_others_use(
    members: Members, tree: FakeMd, suspected: str, flushed: float, broken: bool
) -> None:
    """The kernel does not tell whose each connection is: to break one is to break all to its node."""
    md.activate(tree, VOLUME)
    host = Connected(tree)
    members._machine = replace(members._machine, host=host)
    (array,) = read_back_arrays(members._machine, members)
    array.members["r2"].suspected, array.members["r2"].flushed = suspected, flushed
    obey(members._machine, array, WORD)
    done = ["stop nvme2", "delete nvme2"] if broken else []
    assert (host.done, array.members["r2"].broken) == (done, broken)


@pytest.mark.parametrize(
    ("tells", "unheard", "alone"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_others_to_a_node_are_broken_only_where_nobody_can_tell_which_is_its_own(
    members: Members,
    tree: FakeMd,
    monkeypatch: pytest.MonkeyPatch,
    *,
    tells: bool,
    unheard: bool,
    alone: bool,
) -> None:
    """Twice: one that is connecting may have begun anew in between. A silent one's is not even asked for."""
    broken: list[str] = []
    monkeypatch.setattr("replication.agent.release.break_connections", lambda peer, _: broken.append(peer))
    host = Connected(tree)
    host.tells = tells
    remote = Remote("nqn", "nvme2", "192.0.2.1", 4420)
    joint = Joint("r2", "hold", "dm-2", "", remote, unheard=unheard)
    break_off(replace(members._machine, host=host), joint)
    assert (host.done, broken) == (["stop nvme2", "delete nvme2"], [] if alone else ["192.0.2.1"] * 2)


def test_what_its_peer_does_not_answer_is_broken_after_all(
    members: Members, tree: FakeMd, monkeypatch: pytest.MonkeyPatch
) -> None:
    md.activate(tree, VOLUME)
    host = Connected(tree)
    members._machine = replace(members._machine, host=host)
    (array,) = read_back_arrays(members._machine, members)
    array.members["r2"].flushed = 1.0
    obey(members._machine, array, WORD)
    monkeypatch.setattr("replication.agent.release.remove_member", keeps_requests)
    for _ in range(2):
        clear_away(members._machine, members, array)
    assert host.done == ["stop nvme2", "delete nvme2"]


def test_md_is_not_asked_to_wait_for_one_that_does_not_answer(members: Members, tree: FakeMd) -> None:
    """It suspends the array for that."""
    md.activate(tree, VOLUME)
    host = Connected(tree)
    members._machine = replace(members._machine, host=host, clock=HandClock())
    (array,) = read_back_arrays(members._machine, members)
    array.members["r2"].flushed = 1.0
    obey(members._machine, array, WORD)
    tree.put("/sys/class/block/dm-2/inflight", "0 1")
    clear_away(members._machine, members, array)
    assert host.done == ["stop nvme2", "delete nvme2"]
    assert "remove" not in [value for _, value in tree.written]


def keeps_requests(*_: object) -> None:
    raise FailedPrecondition("still has requests under way")


def test_an_array_that_was_not_active_yet_is_not_made_so(members: Members, tree: FakeMd) -> None:
    read_back_arrays(members._machine, members)
    assert ACTIVE not in tree.written
