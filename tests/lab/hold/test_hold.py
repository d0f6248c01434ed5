"""Record first, fail second: on real kernels nothing is acknowledged that a replica in sync lacks.

Each case: 32 writers on an array of three members, half of them to chunks whose bitmap bit is clear; a fault;
seconds in which nobody decides; the record; the release; the member's return. docs/adr/0001 has the results.
"""

from collections.abc import Iterator

import pytest

from hack.lab.cluster import Cluster
from replication.clock import SystemClock, wait_until
from tests.lab.hold.node import Node
from tests.lab.hold.story import Fault, begin, check, end, hold, mend, return_member, stop, tell
from tests.lab.hold.volume import EVERY_MEMBER, LOCAL_AND_TARGET, LOCAL_ONLY, NONE, Form, Volume

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, disks=1, disk_size_bytes=8 << 30)]


@pytest.fixture
def nodes(cluster: Cluster) -> Iterator[list[Node]]:
    made = [Node(machine) for machine in cluster.machines]
    for node in made:
        node.start()
    yield made
    for node in made:
        node.stop()


def cut(volume: Volume) -> None:
    volume.nodes["m3"].machine.cut()


def cut_both(volume: Volume) -> None:
    volume.nodes["m2"].machine.cut()
    volume.nodes["m3"].machine.cut()


def lose_power(volume: Volume) -> None:
    volume.nodes["m3"].crash()


def fence(volume: Volume) -> None:
    """With writes in flight. The port has no subsystem left: the consumer finds nobody listening."""
    volume.nodes["m3"].ask("fence", nqn=volume.nqn("m3"))


def refuse(volume: Volume) -> None:
    """Fenced too, but the port listens for others: reconnects are answered, and refused."""
    volume.export_to_stranger("m3")
    fence(volume)


def disable(volume: Volume) -> None:
    volume.nodes["m3"].ask("disable", nqn=volume.nqn("m3"))


def pull_remote_disk(volume: Volume) -> None:
    volume.nodes["m3"].machine.break_disk()


def pull_local_disk(volume: Volume) -> None:
    volume.consumer.machine.break_disk()


def cut_and_fail(volume: Volume) -> None:
    """What must never be, and what fast_io_fail_tmo would do: requests fail, and nothing is recorded."""
    cut(volume)
    SystemClock().sleep(2)
    volume.consumer.ask("fail_unrecorded", volume=volume.name, name="m3")


FAULTS: dict[str, tuple[Fault, str, float]] = {
    "link": (cut, "m3", 1),
    "power": (lose_power, "m3", 8),
    "fence": (fence, "m3", 4),
    "refused": (refuse, "m3", 4),
    "disabled": (disable, "m3", 4),
    "remote-disk": (pull_remote_disk, "m3", 4),
    "local-disk": (pull_local_disk, "m1", 4),
}
"""What is done, to whose replica, and how long nobody decides (the quiet seconds come on top)."""

MARKS = {
    "remote-disk": [pytest.mark.long],
    "local-disk": [pytest.mark.long],
    "refused": [pytest.mark.more],
    "power": [pytest.mark.more],
    "fence": [pytest.mark.more],
    "disabled": [pytest.mark.more],
}
"""Disks take two minutes; beside agents and control plane they are pulled out in test_bad_days.py."""


def _story(volume: Volume, case: str) -> None:
    fault, victim, seconds = FAULTS[case]
    held = hold(volume, fault, seconds)
    check(volume, held, volume.drop({victim}))
    mend(volume, victim)
    return_member(volume, victim)
    end(volume)


@pytest.mark.parametrize("case", [pytest.param(case, marks=MARKS.get(case, [])) for case in FAULTS])
def test_a_lost_member_makes_writes_wait_for_the_record(case: str, nodes: list[Node]) -> None:
    _story(begin(case, EVERY_MEMBER, nodes), case)


def test_a_link_that_heals_before_the_decision_costs_nothing(nodes: list[Node]) -> None:
    volume = begin("blip", EVERY_MEMBER, nodes)
    held = hold(volume, cut, 8)
    mend(volume, "m3")
    connected = "m3: live, path False"
    wait_until(
        lambda: connected in volume.look().state, "m3 to be connected", timeout=60, clock=SystemClock()
    )
    SystemClock().sleep(3)
    assert connected in volume.look().state, "nobody but us reinstates a path that has failed"
    volume.consumer.ask("reinstate", volume=volume.name, name="m3")
    SystemClock().sleep(3)
    now = volume.look()
    print(f"hold {volume.name} in-flight {held.in_flight} acked-after-healing {now.acknowledged} {now.state}")
    assert (held.missing, held.late, now.errors) == (0, 0, [])
    assert "faulty" not in now.state
    end(volume)


@pytest.mark.more
def test_a_second_member_lost_within_the_same_second_waits_for_its_own_record(nodes: list[Node]) -> None:
    volume = begin("two", EVERY_MEMBER, nodes)
    hold(volume, cut_both, 1)
    first = volume.drop({"m3"}, timeout=3)
    assert not first["goes_on"], "released while a member that the record counts does not answer"
    held = hold(volume, lambda _: None, 0)
    assert held.acknowledged == 0
    check(volume, held, volume.drop({"m2"}))
    for name in ("m2", "m3"):
        mend(volume, name)
        return_member(volume, name)
    end(volume)


@pytest.mark.more
def test_bitmaps_are_carried_over_when_the_consumer_moves(nodes: list[Node]) -> None:
    """The returning member's own bits count too: a fenced consumer's last write may have reached it alone."""
    volume = begin("move", EVERY_MEMBER, nodes)
    held = hold(volume, cut, 1)
    check(volume, held, volume.drop({"m3"}))
    stop(volume)
    volume.detach()
    volume.nodes["m3"].ask("write_alone", volume=volume.name, chunk=30 * 64 + 40)
    mend(volume, "m3")
    volume.attach("m2")
    SystemClock().sleep(4)  # md would forget bits that it takes for done
    return_member(volume, "m3", dropped_here=False)
    end(volume)


@pytest.mark.more
@pytest.mark.parametrize(
    "victim", [pytest.param("m3", id="remote"), pytest.param("m1", id="local", marks=pytest.mark.long)]
)
def test_medium_errors_pass_the_layer_and_still_end_in_equal_members(victim: str, nodes: list[Node]) -> None:
    """What is not promised, measured: `missing` counts writes that were acknowledged before the record.

    md fails the member itself, at the first error of its bitmap above all, and acknowledges what fails after
    that. The consumer reports it at once; until the record has changed, these writes lack one replica.
    """
    volume = begin(f"medium-{victim}", EVERY_MEMBER, nodes)
    held = hold(volume, lambda _: volume.nodes[victim].machine.fail_disk_io(), 4)
    assert tell(volume, held, volume.drop({victim})) == []
    volume.nodes[victim].machine.heal_disk_io()
    mend(volume, victim)
    return_member(volume, victim)
    end(volume)


def test_without_the_layer_acknowledged_writes_are_missing(nodes: list[Node]) -> None:
    """The control: these tests can fail."""
    volume = begin("control", NONE, nodes)
    held = hold(volume, cut_and_fail, 1)
    tell(volume, held, volume.drop({"m3"}))
    assert held.missing > 0
    stop(volume)
    volume.detach()


@pytest.mark.long
def test_a_cut_that_outlasts_every_timeout_of_the_kernel_is_held_too(nodes: list[Node]) -> None:
    volume = begin("long", EVERY_MEMBER, nodes)
    held = hold(volume, cut, 70)
    check(volume, held, volume.drop({"m3"}))
    stop(volume)
    volume.detach()


CHEAPER = [(form, case) for form in (LOCAL_AND_TARGET, LOCAL_ONLY) for case in FAULTS]
HOLDS = {(LOCAL_ONLY, case) for case in ("link", "power", "fence", "local-disk")}
HOLDS |= {(LOCAL_AND_TARGET, case) for case in FAULTS if case not in ("refused", "disabled")}
"""What the cheaper forms were seen to hold; of the rest nothing is promised."""


@pytest.mark.long
@pytest.mark.parametrize(("form", "case"), CHEAPER, ids=[f"{form.name}-{case}" for form, case in CHEAPER])
def test_what_cheaper_forms_hold(form: Form, case: str, nodes: list[Node]) -> None:
    volume = begin(case, form, nodes)
    fault, victim, seconds = FAULTS[case]
    held = hold(volume, fault, seconds)
    release = volume.drop({victim})
    if (form, case) in HOLDS:
        check(volume, held, release)
    else:
        tell(volume, held, release)
