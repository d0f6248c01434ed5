"""What every case does: fault, seconds without a decision, record, release, return."""

from collections.abc import Callable
from dataclasses import dataclass

from replication.clock import SystemClock
from tests.lab.hold.node import Node
from tests.lab.hold.volume import Form, Volume
from tests.lab.hold.writers import WRITERS

SLOW = 256 << 10  # bytes a second, while reads are checked during a recovery
_QUIET = 2.0  # seconds before the record in which not one write may be acknowledged
_SETTLE = 15.0  # seconds that the last acknowledgement may need
_RUN = 4.0  # seconds of writing before a fault
Fault = Callable[[Volume], None]


@dataclass(frozen=True, slots=True)
class Held:
    """What was seen between the fault and the record."""

    in_flight: int
    acknowledged: int  # after the fault began, before the record
    late: int  # of these, in the last seconds
    missing: int  # blocks older than acknowledged on a replica that the record calls in sync


def begin(name: str, form: Form, nodes: list[Node]) -> Volume:
    """Three members, 32 writers, and some seconds of writes."""
    volume = Volume(name, form, nodes)
    volume.make()
    volume.attach("m1")
    SystemClock().sleep(_RUN)
    return volume


def hold(volume: Volume, fault: Fault, seconds: float) -> Held:
    before = volume.look().acknowledged
    fault(volume)
    SystemClock().sleep(seconds)
    early = _wait_all_wait(volume)
    SystemClock().sleep(_QUIET)
    now = volume.look()
    missing = volume.count_missing(volume.known(), volume.record)
    print(f"  {volume.name}: {now.state}")
    return Held(now.in_flight, now.acknowledged - before, now.acknowledged - early, missing)


def _wait_all_wait(volume: Volume) -> int:
    """Writes acknowledged when every writer waits; a slow machine takes its time to hear of the last one."""
    deadline = SystemClock().now() + _SETTLE
    while (now := volume.look()).in_flight < WRITERS and SystemClock().now() < deadline:
        SystemClock().sleep(0.5)
    return now.acknowledged


def tell(volume: Volume, held: Held, release: dict[str, object]) -> list[int]:
    """The case's line; the errors that writers got."""
    errors = volume.look().errors
    print(
        f"hold {volume.name} in-flight {held.in_flight} acked-before-record {held.acknowledged} "
        f"missing {held.missing} errors {len(errors)} release {float(str(release['seconds'])):.2f}"
    )
    print(f"  {volume.name}: {held.late} in the last {_QUIET:g} s; {release}; errors {errors}")
    return errors


def check(volume: Volume, held: Held, release: dict[str, object]) -> None:
    errors = tell(volume, held, release)
    assert held.missing == 0
    assert held.late == 0
    assert held.in_flight == WRITERS
    assert release["goes_on"], release
    assert errors == []


def return_member(volume: Volume, name: str, *, dropped_here: bool = True) -> None:
    """Reads are right while it is copied to."""
    own = volume.bring_back(name, SLOW, dropped_here=dropped_here)
    seen = volume.consumer.ask("read_back", volume=volume.name)
    print(f"  {volume.name}: {name} is back, {own} bits of its own, {seen}")
    volume.finish(name)
    assert seen["stale"] == 0
    assert seen["recovering"], "the recovery was over before the reads were"


def end(volume: Volume) -> None:
    """All members are equal, and have all that was acknowledged."""
    stop(volume)
    different = volume.count_different()
    print(f"  {volume.name}: members different at the end: {different}")
    assert volume.look().errors == []
    assert different == 0
    volume.detach()


def stop(volume: Volume) -> None:
    volume.consumer.ask("stop", volume=volume.name)
    assert volume.count_missing(volume.known(), volume.record) == 0


def mend(volume: Volume, name: str) -> None:
    """The machine runs, and the consumer can reach it."""
    node = volume.nodes[name]
    if not node.machine.running:
        node.boot()
    node.machine.heal()
    if name != volume.consumer.name:
        node.wait_connected(volume.consumer)
