"""What the record says, as it reaches the agent: the newest word is obeyed, an older one changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from replication.agent.assembled import Arrays, Assembled
from replication.agent.machine import Machine
from replication.agent.members import Joint
from replication.agent.node import Agent
from replication.agent.watcher import Watcher
from replication.errors import StaleEpoch, TimedOut
from replication.kernel import md, md_state
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.md import ArraySpec, MemberSpec
from replication.model import ArrayReport, Confirmation
from replication.tuning import Tuning
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20
VOLUME = "v00000000000000aa"


class Blind(Watcher):
    """Sees nothing, and opens no socket for it."""

    first_sequence = 100

    def __init__(self) -> None:
        pass

    def wake(self) -> None:
        pass

    def look(self, array: Assembled) -> ArrayReport:
        return ArrayReport(VOLUME, array.epoch, array.record_version, (), resync_done=True)


class OneArray(Agent):
    """Of which nobody asks more than to heed a word."""

    def __init__(self, machine: Machine, array: Assembled) -> None:
        self._machine = machine
        self._arrays = Arrays([array])
        self._watcher = Blind()


@pytest.fixture
def agent(tree: FakeMd, control: FakeControl) -> Agent:
    holds = HoldLayer(DeviceMapper(control), tree)
    for number in range(3):
        holds.ensure(f"hold-r{number}", f"259:{number}", 64 * MIB)
    members = tuple(MemberSpec(f"253:{slot}", slot) for slot in range(3))
    md.assemble(tree, ArraySpec(VOLUME, 3, 60 * MIB, 65536, members, resync=False))
    md.activate(tree, VOLUME)
    joints = [Joint(f"r{number}", f"hold-r{number}", f"dm-{number}", "", None) for number in range(3)]
    array = Assembled(VOLUME, 4, {joint.replica_id: joint for joint in joints})
    return OneArray(fake_machine(tree, holds), array)


def word(version: int, *in_sync: str, **changes: object) -> Confirmation:
    made = Confirmation(VOLUME, 4, version, in_sync, rebuilding=(), report=1 << 60)
    return replace(made, **changes)  # type: ignore[arg-type]


def faulty(tree: FakeMd) -> list[str]:
    return [each.kname for each in md_state.read_members(tree, VOLUME) if each.faulty]


def test_a_lost_member_is_dropped_when_the_record_does_not_count_it(
    agent: Agent, control: FakeControl, tree: FakeMd
) -> None:
    agent.confirm(word(7, "r0", "r1", "r2"))
    assert faulty(tree) == []
    agent.confirm(word(8, "r0", "r1"))
    assert faulty(tree) == ["dm-2"]
    assert ("hold-r2", "fail_if_no_path") in control.messages


def test_an_older_word_of_the_record_changes_nothing(agent: Agent, tree: FakeMd) -> None:
    agent.confirm(word(8, "r0", "r1", "r2"))
    agent.confirm(word(7, "r0", "r1"))
    assert faulty(tree) == []
    assert agent._arrays.get(VOLUME).record_version == 8


def test_an_answer_to_an_agent_before_this_one_changes_nothing(agent: Agent, tree: FakeMd) -> None:
    """It knows no version of the record yet, by which it could tell that the word is old."""
    agent.confirm(word(8, "r0", "r1", report=99))
    assert faulty(tree) == []
    agent.confirm(word(8, "r0", "r1", report=100))
    assert faulty(tree) == ["dm-2"]


def test_no_call_waits_for_an_array_for_good(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes it may wait in the kernel, and a thread is wanted for the word that would end that."""
    monkeypatch.setattr("replication.agent.assembled.PATIENCE", 0.1)
    array = agent._arrays.get(VOLUME)
    with array.lock, ThreadPoolExecutor(1) as pool, pytest.raises(TimedOut, match="is being changed"):
        pool.submit(agent.tune, VOLUME, 4, Tuning(3)).result()


def test_a_word_of_another_epoch_is_refused(agent: Agent, tree: FakeMd) -> None:
    with pytest.raises(StaleEpoch):
        agent.confirm(word(9, "r0", epoch=5))
    assert faulty(tree) == []
