"""A replica is stale, the volume moves, with one survivor or with two, and only then the replica returns.

The fourth machine has no replica: a consumer there takes none with it.
"""

import itertools

import pytest

from hack.checker.collector import Verdict
from replication.clock import SystemClock
from replication.model import ReplicaState, Volume
from tests.lab.stand import Checked, Stand, dump
from tests.lab.stories.acts import move
from tests.lab.stories.healing import create_on, write_elsewhere
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=4)]
REPLICAS = ("m1", "m2", "m3")


@pytest.mark.parametrize(
    "consumers",
    [
        pytest.param(("m1", "m4"), marks=pytest.mark.more),
        pytest.param(("m1", "m4", "m1"), marks=pytest.mark.long),
    ],
    ids="-".join,
)
def test_stale_replicas_return_after_clean_moves_with_one_survivor(
    stand: Stand, consumers: tuple[str, ...]
) -> None:
    """What two replicas miss under each consumer lies in different places, and one replica knows of it."""
    volume = create_on(stand, "behind", REPLICAS)
    told = []
    for number, (node, following) in enumerate(itertools.pairwise(consumers)):
        with stand.writing(volume, node) as checked:
            leave_behind(stand, volume, "m2", "m3")
            write_elsewhere(checked, number)
            stall = checked.collector.stall()
            checked.finish()
        stand.control.volumes.detach(volume.id)
        device = stand.control.volumes.attach(volume.id, following)
        told.append((checked.collector.judge(dump(stand.machine(following), device)), stall))
    with stand.writing(volume, consumers[-1]) as checked:
        come_back(stand, volume, checked, f"stale-clean-{'-'.join(consumers)}", told)


@pytest.mark.parametrize(
    "consumers",
    [
        pytest.param(("m4", "m1"), marks=pytest.mark.more),
        pytest.param(("m4", "m1", "m2"), marks=pytest.mark.long),
    ],
    ids="-".join,
)
def test_a_stale_replica_returns_after_power_cuts_of_its_consumers(
    stand: Stand, consumers: tuple[str, ...]
) -> None:
    """Two replicas survive the first consumer, which had none; one survives the second."""
    volume = create_on(stand, "behind", REPLICAS)
    told = []
    for number, (node, following) in enumerate(itertools.pairwise(consumers)):
        with stand.writing(volume, node) as lost:
            leave_behind(stand, volume, "m3")
            write_elsewhere(lost, number)
            lost.machine.crash()
            told.append((move(stand, volume, lost, following), lost.collector.stall()))
    with stand.writing(volume, consumers[-1]) as checked:
        come_back(stand, volume, checked, f"stale-power-cut-{'-'.join(consumers)}", told)


def leave_behind(stand: Stand, volume: Volume, *nodes: str) -> None:
    """Their replicas are stale from now on, if they are not yet."""
    for node in nodes:
        stand.machine(node).cut()
        stand.wait_for_state(volume, node, ReplicaState.STALE)


def come_back(
    stand: Stand, volume: Volume, checked: Checked, name: str, told: list[tuple[Verdict, float]]
) -> None:
    """All machines, under writes; then the story ends. `told`: what was found after each move, its stall."""
    write_elsewhere(checked, len(told))
    begun = SystemClock().now()
    for machine in stand.cluster.machines:
        machine.heal()
        if not machine.running:
            stand.revive(machine)
    stand.wait_until_redundant(volume)
    redundant = SystemClock().now() - begun
    checked.wait_for_writes(100)
    stall = checked.collector.stall()
    told.append((checked.finish(), stall))
    for verdict, longest in told:
        tell(name, verdict, longest, redundant)
    end(stand, volume, *(verdict for verdict, _ in told))
