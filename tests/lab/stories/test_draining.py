"""A replica's place is lost, or is to be emptied: another is made elsewhere, and redundancy never falls."""

import pytest

from hack.lab import images
from replication.clock import SystemClock
from replication.model import MIB, ReplicaState, Volume
from tests.lab.stand import PATIENCE, Checked, Stand, wait_for
from tests.lab.stories.healing import (
    counting,
    create_on,
    setting,
    take_disks,
    wait_until_on,
    write_elsewhere,
)
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.cluster(nodes=4)]
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
MOST_MORE = 2.0  # seconds that a stall may be longer than without a fault
DRAINED_WITHIN = 250.0  # seconds: five times the quiet figure
REPLACED_WITHIN = 400.0  # seconds: some attempts to connect end in vain first
FIRST = ("m1", "m2", "m3")  # where replicas are made; m4 is the spare


def test_a_machine_that_returns_with_an_empty_disk_is_replaced(stand: Stand) -> None:
    """Its disk is gone, whatever lies in its place: at once another node gets the replica."""
    volume = create(stand, "gone")
    with stand.writing(volume, "m1") as checked:
        lose_disk(stand, volume, checked)
        redundant = wait_until_on(stand, volume, {"m1", "m2", "m4"})
        checked.wait_for_writes(100)
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("empty-disk-replaced", verdict, stall, redundant)
    assert stall < LOSS_STALL
    take_disks(stand)
    end(stand, stand.control.volumes.get(volume.id), verdict)


@pytest.mark.parametrize(
    "cache",
    [
        "claimed",
        pytest.param("forgets", marks=pytest.mark.cluster(nodes=4, volatile=True)),
        pytest.param("none", marks=pytest.mark.cluster(nodes=4, volatile=False)),
    ],
)
def test_an_empty_disk_is_filled_again_where_no_other_node_has_room(stand: Stand, cache: str) -> None:
    """The pool takes it, and the replica is made anew on it and copied in full."""
    volume = create(stand, "anew")
    stand.control.emptying.cordon("m4")
    with stand.writing(volume, "m1") as checked:
        lose_disk(stand, volume, checked)
        take_disks(stand)
        redundant = wait_until_on(stand, volume, set(FIRST))
        checked.wait_for_writes(100)
        stall, verdict = checked.collector.stall(), checked.finish()
    stand.control.emptying.uncordon("m4")
    tell(f"empty-disk-made-anew-cache-{cache}", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, stand.control.volumes.get(volume.id), verdict)


def test_a_replica_that_stays_away_is_replaced(stand: Stand) -> None:
    """On the fourth node, after the delay; what it left is removed when its machine returns."""
    volume = create(stand, "away")
    m3 = stand.machine("m3")
    with setting(stand, "replacement-delay", "5"), stand.writing(volume, "m1") as checked:
        m3.crash()
        redundant = wait_until_redundant_on(stand, volume, {"m1", "m2", "m4"})
        checked.wait_for_writes(100)
        stand.revive(m3)
        wait_until_on(stand, volume, {"m1", "m2", "m4"})
        stand.wait_until_sound()
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("replaced-elsewhere", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, stand.control.volumes.get(volume.id), verdict)


def test_a_replica_that_the_consumer_does_not_reach_is_replaced(stand: Stand) -> None:
    """Its own node answers the control plane all the time, which tries in vain to bring it back."""
    volume = create(stand, "apart")
    m1, m3 = stand.machine("m1"), stand.machine("m3")
    with setting(stand, "replacement-delay", "5"), stand.writing(volume, "m1") as checked:
        m1.cut_from(m3.address)
        redundant = wait_until_on(stand, volume, {"m1", "m2", "m4"}, REPLACED_WITHIN)
        checked.wait_for_writes(100)
        m1.heal_from()
        stand.wait_until_sound()
        stall, verdict = checked.collector.stall(), checked.finish()
    tell("replaced-as-not-reached", verdict, stall, redundant)
    assert stall < LOSS_STALL
    end(stand, stand.control.volumes.get(volume.id), verdict)


def test_a_node_is_drained_under_load_and_removed(stand: Stand) -> None:
    """The last of this module: m3 is no node of the cluster any more."""
    volume = create(stand, "drained")
    with stand.writing(volume, "m1") as checked:
        quiet = checked.measure(lambda: None)
        checked.collector.restart_stall_watch()
        with counting(stand, volume) as counts:
            stand.site.run_cli("node", "drain", "m3", "--no-wait")
            took = wait_until_on(stand, volume, {"m1", "m2", "m4"}, DRAINED_WITHIN)
        stall = checked.collector.stall()
        assert min(counts) >= 3
        assert stand.site.run_cli("node", "drain", "m3") == "m3: 0 replicas left\n"
        stand.site.run_cli("node", "remove", "m3")
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("node-drained", verdict, stall, took)
    assert stall <= quiet + MOST_MORE
    assert [node.name for node in stand.control.nodes.list()] == ["m1", "m2", "m4"]
    end(stand, stand.control.volumes.get(volume.id), verdict)


def create(stand: Stand, name: str) -> Volume:
    return create_on(stand, name, FIRST, 32 * MIB)


def lose_disk(stand: Stand, volume: Volume, checked: Checked) -> None:
    """m3 loses power, and returns with an empty disk."""
    m3 = stand.machine("m3")
    m3.crash()
    stand.wait_for_state(volume, "m3", ReplicaState.STALE)
    write_elsewhere(checked, 0)
    images.empty_disk(m3)
    stand.revive(m3)


def wait_until_redundant_on(stand: Stand, volume: Volume, nodes: set[str]) -> float:
    """The same, but what they replace may be in the record still, because its node is silent."""
    begun = SystemClock().now()
    wait_for(
        lambda: list_nodes_in_sync(stand, volume) == nodes, f"{volume.name} to be in sync there", PATIENCE
    )
    return SystemClock().now() - begun


def list_nodes_in_sync(stand: Stand, volume: Volume) -> set[str]:
    replicas = stand.control.volumes.get(volume.id).replicas
    return {replica.node for replica in replicas if replica.state is ReplicaState.IN_SYNC}
