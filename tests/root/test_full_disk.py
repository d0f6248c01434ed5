"""The control plane's state on a disk that is really full."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.clock import SystemClock
from replication.control.store.sqlite import SqliteStore
from replication.errors import OutOfSpace
from replication.kernel.run import run
from tests.unit.control.records import volume

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    run(("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)), timeout=10)
    yield tmp_path
    run(("umount", str(tmp_path)), timeout=10)


def fill(disk: Path) -> Path:
    with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as filling:
        while True:
            filling.write(bytes(4096))
    return disk / "filling"


def test_a_store_on_a_full_disk_says_to_make_room_and_goes_on_when_there_is(disk: Path) -> None:
    store = SqliteStore(disk, "cluster", SystemClock())
    filling = fill(disk)
    for _ in range(2):
        with pytest.raises(OutOfSpace, match="make room"), store.lock("v0", "create"):
            store.add_volume(volume())
    assert store.list_volumes() == ()
    filling.unlink()
    with store.lock("v0", "create"):
        assert store.add_volume(volume()).version == 1
    store.close()


def test_a_full_disk_is_named_to_whoever_opens_the_store_there(disk: Path) -> None:
    before = SqliteStore(disk, "cluster", SystemClock())
    added = before.add_volume(volume())
    before.close()
    filling = fill(disk)
    with pytest.raises(OutOfSpace, match="make room"):
        SqliteStore(disk, "cluster", SystemClock())
    filling.unlink()
    after = SqliteStore(disk, "cluster", SystemClock())
    assert after.list_volumes() == (added,)
    after.close()
