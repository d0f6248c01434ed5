"""What stories of an expansion share: how it is cut short, ended by a repeat, and looked at."""

import contextlib
from collections.abc import Callable

from hack.checker.collector import Verdict
from hack.lab.vm import Machine
from replication.errors import Conflict, FailedPrecondition, KernelError, Unavailable
from replication.model import MIB, Phase, Volume
from tests.lab.stand import PATIENCE, Checked, Interception, Stand, wait_for
from tests.lab.stories.told import end

GROWN_BYTES = 192 * MIB
LAST_BYTES = 16 * MIB  # of the new part
LOSS_STALL = 25.0  # seconds: five times the goal of 5 when a replica falls silent
BEFORE_REPLICAS, BEFORE_ARRAY = "resize_replica", "grow_array"  # the calls that come next
CUT_SHORT = (Unavailable, FailedPrecondition, Conflict, KernelError)


def interrupt(stand: Stand, volume: Volume, method: str, act: Callable[[], object]) -> bool:
    """Expand, and have `act` done right before its first call of `method`. Whether that cut it short."""

    def strike(_: str) -> None:
        act()

    interception = Interception(stand, method, strike)
    cut_short = False
    try:
        interception.control().volumes.expand(volume.id, GROWN_BYTES)
    except CUT_SHORT:  # one that dies late may have done what it was asked
        cut_short = True
    assert interception.happened
    return cut_short


def repeat(stand: Stand, volume: Volume, checked: Checked) -> None:
    """As an orchestrator does, and the control plane unasked, until the device has its new size."""

    def grown() -> bool:
        with contextlib.suppress(*CUT_SHORT):
            stand.control.volumes.expand(volume.id, GROWN_BYTES)
            return True
        return False

    wait_for(grown, f"{volume.name} to grow", PATIENCE)
    assert is_grown(stand, volume)
    size = checked.machine.succeed(["blockdev", "--getsize64", checked.device])
    assert int(size) == GROWN_BYTES


def is_grown(stand: Stand, volume: Volume) -> bool:
    now = stand.control.volumes.get(volume.id)
    return (now.phase, now.size_bytes, now.target_size_bytes) == (Phase.READY, GROWN_BYTES, 0)


def write_at_the_end(checked: Checked) -> None:
    """Where there was nothing before."""
    where = f"of={checked.device} bs=1M seek={(GROWN_BYTES - LAST_BYTES) // MIB} count={LAST_BYTES // MIB}"
    checked.machine.succeed(f"dd if=/dev/urandom {where} oflag=direct status=none", timeout=120)
    checked.wait_for_writes(100)


def sum_end(machine: Machine, device: str) -> str:
    """Of what `write_at_the_end` wrote."""
    where = f"if={device} bs=1M skip={(GROWN_BYTES - LAST_BYTES) // MIB} iflag=direct status=none"
    return machine.succeed(f"dd {where} | sha256sum", timeout=120)


def end_grown(stand: Stand, volume: Volume, *verdicts: Verdict) -> None:
    """The record and all replicas have the new size; then as every story ends."""
    assert is_grown(stand, volume)
    nodes = [replica.node for replica in volume.replicas]
    facts = [replica for node in nodes for replica in stand.control.nodes.facts(node).replicas]
    assert [each.size_bytes for each in facts if each.volume_id == volume.id] == [GROWN_BYTES] * len(nodes)
    end(stand, volume, *verdicts)
