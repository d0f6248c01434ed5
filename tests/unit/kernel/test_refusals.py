import errno
import os
from pathlib import Path

import pytest

from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.refusals import WHOLE_DISK, Refusal, TracedRefusals, find_disks, parse_events
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_runner import FakeRunner
from tests.unit.kernel.fake_tree import FakeTree

INSTANCE = "sys/kernel/tracing/instances/trilith"
LINE = "   <idle>-0 [000] d.h2. 41.2: block_rq_error: 259,0 {} () {} + 8 {} [-5]\n"
"""6.12's words: device, kind, command, sector + sectors, priority, error."""


def line(kind: str, start: int, priority: str = "none,0,0") -> str:
    return LINE.format(kind, start, priority)


@pytest.mark.parametrize("kind", ["W", "WS", "WSM", "FWFS", "D", "N"])
def test_what_changes_a_disk_is_told(kind: str) -> None:
    assert parse_events(line(kind, 2048)) == (Refusal("259:0", 2048, 8),)


@pytest.mark.parametrize("kind", ["R", "RA", "RSM"])
def test_reads_are_not(kind: str) -> None:
    assert parse_events(line(kind, 2048)) == ()


def test_the_words_of_other_kernels_are_understood() -> None:
    assert parse_events(LINE.format("W", 16, "be,4")) == (Refusal("259:0", 16, 8),)


@pytest.mark.parametrize("kind", ["W", "R"])
def test_where_events_were_lost_the_whole_disk_counts(kind: str) -> None:
    text = line(kind, 8) + "CPU:0 [LOST 512 EVENTS]\n" + line(kind, 64)
    assert parse_events(text) == (Refusal("259:0", 0, WHOLE_DISK),)


@pytest.mark.parametrize(
    ("parameters", "start", "hit"),
    [
        ("259:0 2048", 2047, True),
        ("259:0 2048", 2040, False),
        ("259:0 2048", 2048 + 99, True),
        ("259:0 2048", 2048 + 100, False),
        ("259:1 2048", 2048, False),
    ],
    ids=["reaches in", "before", "last sector", "behind", "another disk"],
)
def test_a_device_is_hit_where_it_lies(parameters: str, start: int, hit: bool) -> None:
    table = (Target(0, 10, "linear", "259:0 9000"), Target(10, 100, "linear", parameters))
    assert Refusal("259:0", start, 8).touches(table) is hit


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    """A tracefs with our instance in it, whose pipe is one."""
    folder = tmp_path / INSTANCE
    (folder / "events/block/block_rq_error").mkdir(parents=True)
    for name in ("buffer_size_kb", "buffer_percent", "events/block/block_rq_error/enable"):
        (folder / name).touch()
    os.mkfifo(folder / "trace_pipe")
    made = FakeTree(tmp_path)
    made.lay({"/proc/diskstats": "   8 0 sda 1 0\n 259 0 nvme1c1n1 3 0 24\n 259 1 nvme1n1 3 0 24\n"})
    return made


def test_events_are_asked_for_and_read_as_they_come(tree: FakeTree, tmp_path: Path) -> None:
    refusals = TracedRefusals(tree, FakeRunner({}), DeviceMapper(FakeControl()))
    pipe = os.open(tmp_path / INSTANCE / "trace_pipe", os.O_WRONLY)
    assert tree.read(f"/{INSTANCE}/events/block/block_rq_error/enable") == "1"
    assert tree.read(f"/{INSTANCE}/buffer_percent") == "0"
    assert refusals.read() == ()
    os.write(pipe, line("W", 8).encode())
    refusals.wait(10)
    assert refusals.read() == (Refusal("259:0", 8, 8),)
    assert refusals.read() == ()


def test_a_pipe_that_somebody_else_reads_is_read_when_he_has_ended(
    tree: FakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent before us that has not ended yet, or a curious person."""
    really, taken = os.open, [True, True]

    def open_unless_taken(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if str(path).endswith("trace_pipe") and not flags & os.O_WRONLY and taken and taken.pop():
            raise OSError(errno.EBUSY, "Device or resource busy")
        return really(path, flags, mode)

    monkeypatch.setattr(os, "open", open_unless_taken)
    refusals = TracedRefusals(tree, FakeRunner({}), DeviceMapper(FakeControl()))
    refusals.wait(0.01)
    assert refusals.read() == ()
    assert refusals.read() == ()
    pipe = really(tmp_path / INSTANCE / "trace_pipe", os.O_WRONLY)
    os.write(pipe, line("W", 8).encode())
    refusals.wait(10)
    assert refusals.read() == (Refusal("259:0", 8, 8),)


def test_a_path_of_native_multipath_is_its_disk(tree: FakeTree) -> None:
    tree.lay({"/sys/block/nvme1n1/dev": "259:1"})
    events = (Refusal("259:0", 8, 8), Refusal("8:0", 8, 8), Refusal("7:7", 8, 8))
    assert [each.disk for each in find_disks(tree, events)] == ["259:1", "8:0", "7:7"]


def test_a_device_that_is_gone_lies_nowhere(tree: FakeTree) -> None:
    mapper = DeviceMapper(FakeControl())
    made = mapper.create("volume", "u", (Target(0, 10, "linear", "259:0 0"),))
    refusals = TracedRefusals(tree, FakeRunner({}), mapper)
    assert refusals.table(made.number) == (Target(0, 10, "linear", "259:0 0"),)
    assert refusals.table("253:77") == ()
    assert refusals.mapped() == {"volume": made.number}
