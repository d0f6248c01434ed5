"""An agent that is killed while somebody writes disturbs nothing; the next one reads back what is there."""

from functools import partial

import pytest

from replication.agent.flush import FLUSH_EVERY
from replication.control.insync import in_sync
from replication.model import Confirmation, MemberHealth, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Interception, Stand, wait_for
from tests.lab.stories.acts import find_array, kill_agent, make_mortal
from tests.lab.stories.growing import GROWN_BYTES, end_grown
from tests.lab.stories.told import end, tell

pytestmark = pytest.mark.lab
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
AFTER_POWER_CUT = 15.0  # 3 s of silence make a node lost; five times what it takes in all


def test_a_killed_agent_is_not_missed(stand: Stand) -> None:
    """The consumer's and a replica's."""
    volume = stand.create("missed")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        without_consumer = checked.measure(partial(kill_agent, stand, "m1"))
        without_replica = checked.measure(partial(kill_agent, stand, "m2"))
        both_back = checked.measure(partial(restart_agents, stand, "m1", "m2"))
        print(
            f"longest stall: {quiet:.2f} s quiet, {without_consumer:.2f} s after the consumer's agent, "
            f"{without_replica:.2f} s after a replica's, {both_back:.2f} s at their return"
        )
        assert max(without_consumer, without_replica, both_back) <= quiet + MOST_MORE
        assert checked.collector.errors() == []
        find_all_well(stand, volume)
        verdict = checked.finish()
    tell("agent-killed", verdict, max(without_consumer, without_replica, both_back), 0.0)
    assert verdict.checked > 100
    end(stand, volume, verdict)


@pytest.mark.more
def test_an_agent_that_follows_a_killed_one_lives_through_the_loss_of_a_replica(stand: Stand) -> None:
    volume = stand.create("followed")
    with stand.writing(volume, "m1") as checked:
        kill_agent(stand, "m1")
        restart_agents(stand, "m1")
        find_all_well(stand, volume)
        word, stall, redundant = lose_and_regain(stand, volume, checked)
        stand.control.nodes.to("m1").confirm(word)
        assert healths(stand, volume, "m1").count(MemberHealth.DROPPED) == 0, "an old word drops nobody"
        assert len(healths(stand, volume, "m1")) == 3
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("agent-killed-then-replica-power-cut", verdict, stall, redundant)
    assert verdict.checked > 500
    end(stand, volume, verdict)


def find_all_well(stand: Stand, volume: Volume) -> None:
    good = [MemberHealth.GOOD] * 3
    wait_for(lambda: healths(stand, volume, "m1") == good, "the new agent to find all well", PATIENCE)


def lose_and_regain(stand: Stand, volume: Volume, checked: Checked) -> tuple[Confirmation, float, float]:
    """Returns what the record said while m3's replica was lost, the stall, and the time to redundancy."""
    m3 = stand.machine("m3")
    stall = checked.measure(m3.crash, seconds=AFTER_POWER_CUT)
    print(f"longest stall: {stall:.2f} s after a replica's power cut, under an agent that was started again")
    assert stand.state(volume, "m3") is ReplicaState.STALE
    assert stall < AFTER_POWER_CUT - 2
    record, report = stand.control.records.get(volume.id), find_array(stand, volume, "m1")
    counted = tuple(replica.id for replica in in_sync(record.volume))
    word = Confirmation(volume.id, report.epoch, record.version, counted, (), report.sequence)
    checked.wait_for_writes(100)
    stand.revive(m3)
    redundant = stand.wait_until_redundant(volume)
    checked.wait_for_writes(100)
    return word, stall, redundant


@pytest.mark.more
def test_an_agent_killed_between_record_and_release_keeps_writes_waiting(stand: Stand) -> None:
    """They wait for the next agent, which finds the record changed already; nothing fails."""
    volume = stand.create("between")
    with stand.writing(volume, "m1") as checked:
        stand.kill_control()
        killing = Interception(stand, "confirm", partial(kill_agent, stand))
        with killing.watching():
            stand.machine("m3").crash()
            wait_for(lambda: killing.happened, "the first confirmation", 30)
            assert stand.state(volume, "m3") is ReplicaState.STALE, "the record comes first"
            checked.wait_until_waiting()
            checked.assert_waiting(6.0)
            stand.revive(stand.machine("m1"))
            checked.wait_for_writes(200)
        stand.start_control()
        stand.revive(stand.machine("m3"))
        redundant = stand.wait_until_redundant(volume)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("agent-killed-while-held", verdict, stall, redundant)
    end(stand, volume, verdict)


@pytest.mark.more
def test_an_agent_killed_while_a_flush_waits_for_a_lost_member_ends(stand: Stand) -> None:
    """Its supervisor would wait for that with the next one, and what waits for the next one's word."""
    volume = stand.create("flushed")
    with stand.writing(volume, "m1") as checked:
        stand.kill_control()
        stand.machine("m3").crash()
        checked.wait_until_waiting()
        wait_for(lambda: flushes(checked), "a flush to wait", 5 * FLUSH_EVERY)
        kill_agent(stand, "m1")
        assert flushes(checked), "what waits in the kernel cannot be killed"
        stand.revive(stand.machine("m1"))
        stand.start_control()
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stall = checked.collector.stall()
        stand.revive(stand.machine("m3"))
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    wait_for(lambda: not flushes(checked), "the flush that was held to end", PATIENCE)
    tell("agent-killed-while-flushing", verdict, stall, redundant)
    end(stand, volume, verdict)


@pytest.mark.long
def test_a_replica_lost_while_the_agent_is_away_is_seen_by_the_next(stand: Stand) -> None:
    volume = stand.create("away")
    with stand.writing(volume, "m1") as checked:
        kill_agent(stand, "m1")
        stand.machine("m3").crash()
        checked.wait_until_waiting()
        checked.assert_waiting(6.0)
        assert stand.state(volume, "m3") is ReplicaState.IN_SYNC, "nobody has told"
        stand.revive(stand.machine("m1"))
        checked.wait_for_writes(200)
        assert stand.state(volume, "m3") is ReplicaState.STALE
        stall = checked.collector.stall()
        stand.revive(stand.machine("m3"))
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("agent-away-while-replica-lost", verdict, stall, redundant)
    end(stand, volume, verdict)


@pytest.mark.long
@pytest.mark.parametrize("where", ["_take_slot", "start_recovery"])
def test_an_agent_killed_while_it_brings_a_replica_back_leaves_none_that_counts(
    stand: Stand, where: str
) -> None:
    """md calls it in sync before it has its slot; and would give it one, uncopied, when the array grows."""
    volume = stand.create("returning")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        m3.crash()
        checked.wait_for_writes(200)
        wait_for(lambda: stand.state(volume, "m3") is ReplicaState.STALE, "m3 to be given up")
        make_mortal(stand, "m1", f"replication.kernel.md_members:{where}")
        stand.revive(m3)
        wait_for(lambda: stand.site.agents["m1"].status is not None, "the agent's end")
        assert len(md_members(stand, volume)) == 3, "it was about to be one"
        checked.wait_for_writes(200)
        stand.revive(m1)
        stand.control.volumes.expand(volume.id, GROWN_BYTES)
        stall, redundant = checked.collector.stall(), stand.wait_until_redundant(volume)
        checked.wait_for_writes(200)
        verdict = checked.finish()
    tell(f"agent-killed-while-a-replica-returns{where}", verdict, stall, redundant)
    end_grown(stand, volume, verdict)


def md_members(stand: Stand, volume: Volume) -> list[str]:
    """What md has, in a slot or not."""
    return stand.machine("m1").succeed(f"ls -d /sys/block/md_{volume.id}/md/dev-*").split()


def flushes(checked: Checked) -> bool:
    """Whether anything but the writer waits in the kernel for a disk's flush."""
    stacks = f"ls -d /proc/[0-9]*/task/*/stack | grep -v ^/proc/{checked.writer.pid}/"
    status, _ = checked.machine.execute(f"grep -qs blkdev_issue_flush $({stacks})")
    return status == 0


def restart_agents(stand: Stand, *names: str) -> None:
    for name in names:
        stand.revive(stand.machine(name))


def healths(stand: Stand, volume: Volume, node: str) -> list[MemberHealth]:
    """Of the members of the volume's array there."""
    return [member.health for member in find_array(stand, volume, node).members]
