from pathlib import Path

from replication.agent.assembled import Arrays
from replication.agent.flush import Flusher, parse_sectors_written
from replication.agent.members import Joint
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_tree import FakeTree

# /sys/block/dm-0/stat of a bio-based dm-multipath device on 6.12.95: unused, after a flush, after 4 KiB
UNUSED = "       0        0        0        0        0        0        0        0        0        0        0"
FLUSHED = "       0        0        0        0        1        0        0        0        0        0        0"
WRITTEN = "       0        0        0        0        2        0        8        0        0        0        0"


def test_a_flush_is_not_a_write() -> None:
    """Or a device that nobody writes to would be flushed for ever, because it was flushed before."""
    assert parse_sectors_written(FLUSHED) == parse_sectors_written(UNUSED)


def test_a_write_is() -> None:
    assert parse_sectors_written(WRITTEN) == 8


def test_a_member_that_cannot_be_flushed_is_left_to_the_watcher(tmp_path: Path) -> None:
    """An error must not end the flusher: then nothing would bound what the other members may forget."""
    tree, joint = FakeTree(tmp_path), Joint("r1", "hold", "no-such-device", "", None, flushed=5.0)
    tree.lay({"/sys/class/block/no-such-device/stat": WRITTEN})
    Flusher(fake_machine(tree), Arrays())._flush_if_written(joint)
    assert joint.flushed == 5.0
