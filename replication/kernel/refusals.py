"""Requests that a disk answered with an error, as the kernel traces them (block:block_rq_error).

The event is raised once for each part of a request that failed for good, after the driver's own retries
(block/blk-mq.c: blk_update_request), by whomever it was asked; not for disks that are gone, and not for bare
flushes. A buffer of our own in tracefs keeps what comes while no agent runs.
"""

import errno
import logging
import os
import re
import select
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from replication.clock import Clock
from replication.errors import NotFound
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree, refuse

_log = logging.getLogger(__name__)

_DISKSTATS = "/proc/diskstats"
_TRACEFS = "/sys/kernel/tracing"
_INSTANCE = f"{_TRACEFS}/instances/trilith"
_BUFFER_KIB = 64  # for each processor: some hundred events
_MOST_BYTES = 65536
_EVENT = re.compile(r"block_rq_error: (\d+),(\d+) (\S+) \(.*?\) (\d+) \+ (\d+) ")
_PATH = re.compile(r"(nvme\d+)c\d+(n\d+)")
_LOST = re.compile(r"\[LOST \d+ EVENTS\]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write, or another request that changes a disk, that the disk did not do. In sectors of 512 bytes."""

    disk: str  # MAJOR:MINOR
    start: int
    sectors: int

    def touches(self, table: Sequence[Target]) -> bool:
        """Whether a device of this table has any of these sectors. Only linear targets are looked at."""
        return any(self._touches(target) for target in table if target.kind == "linear")

    def _touches(self, target: Target) -> bool:
        disk, _, start = target.parameters.partition(" ")
        begin = int(start)
        return disk == self.disk and begin < self.start + self.sectors and self.start < begin + target.sectors


WHOLE_DISK = 1 << 55  # sectors; more than any has


def parse_events(text: str) -> tuple[Refusal, ...]:
    """Lines of trace_pipe. Where events were lost, all of each disk that errs counts as refused."""
    events = _EVENT.findall(text)
    if _LOST.search(text):
        disks = sorted({f"{major}:{minor}" for major, minor, *_ in events})
        return tuple(Refusal(disk, 0, WHOLE_DISK) for disk in disks)
    return tuple(
        Refusal(f"{major}:{minor}", int(start), int(sectors))
        for major, minor, kind, start, sectors in events
        if "R" not in kind
    )


def find_disks(tree: Tree, refusals: Sequence[Refusal]) -> tuple[Refusal, ...]:
    """A path of native multipath has its own number, which only /proc/diskstats tells: take its disk's."""
    lines = (line.split() for line in tree.read(_DISKSTATS).splitlines())
    names = {f"{words[0]}:{words[1]}": words[2] for words in lines}
    return tuple(
        replace(each, disk=_find_number(tree, names.get(each.disk, "")) or each.disk) for each in refusals
    )


def _find_number(tree: Tree, name: str) -> str | None:
    """Of the disk that `nvme0c1n2` is a path to: `nvme0n2`."""
    path = _PATH.fullmatch(name)
    return tree.find(f"/sys/block/{path[1]}{path[2]}/dev") if path else None


class Refusals(Protocol):
    """What disks of this machine refuse."""

    def wait(self, timeout: float) -> None:
        """Until there is something to read, or for `timeout` seconds."""

    def read(self) -> tuple[Refusal, ...]:
        """What has come since the last call, without waiting."""

    def table(self, number: str) -> tuple[Target, ...]:
        """How the device-mapper device `MAJOR:MINOR` lies on others; nothing when it is gone."""

    def mapped(self) -> Mapping[str, str]:
        """All such devices: number by name."""


class Unheard:
    """Where the kernel does not tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wait(self, timeout: float) -> None:
        self._clock.sleep(timeout)

    def read(self) -> tuple[Refusal, ...]:
        return ()

    def table(self, number: str) -> tuple[Target, ...]:
        raise NotFound(f"{number}: nobody has asked for it")

    def mapped(self) -> Mapping[str, str]:
        return {}


class TracedRefusals:
    """Through tracefs, which is mounted if nobody has. KernelError or NotFound where that is not possible.

    From 6.6 on a pipe has one reader (open_pipe_on_cpu in trace.c). While that is somebody else, above all an
    agent that has not quite ended, what comes stays in the buffer, and is read after him.
    """

    def __init__(self, tree: Tree, runner: Runner, mapper: DeviceMapper) -> None:
        self._tree = tree
        self._mapper = mapper
        if not tree.names(_TRACEFS):
            runner(("mount", "-t", "tracefs", "tracefs", _TRACEFS), timeout=10)
        tree.make_directory(_INSTANCE)
        tree.write(f"{_INSTANCE}/buffer_size_kb", _BUFFER_KIB)
        tree.write(f"{_INSTANCE}/buffer_percent", 0)  # whoever polls is woken by the first event
        tree.write(f"{_INSTANCE}/events/block/block_rq_error/enable", 1)
        self._pipe: int | None = None
        try:
            self._pipe = self._open()
        except OSError as error:
            if error.errno != errno.EBUSY:
                refuse(f"open {_INSTANCE}/trace_pipe", error)
            _log.warning("somebody else reads %s/trace_pipe: what disks refuse is heard after him", _INSTANCE)

    def _open(self) -> int:
        return os.open(self._tree.path(f"{_INSTANCE}/trace_pipe"), os.O_RDONLY | os.O_NONBLOCK)

    def wait(self, timeout: float) -> None:
        poll = select.poll()
        if self._pipe is not None:
            poll.register(self._pipe, select.POLLIN)
        poll.poll(timeout * 1000)

    def read(self) -> tuple[Refusal, ...]:
        if self._pipe is None:
            try:
                self._pipe = self._open()
            except OSError:  # still; what cannot be opened for another reason was open to him
                return ()
        pieces = []
        with suppress(BlockingIOError):
            while piece := os.read(self._pipe, _MOST_BYTES):
                pieces.append(piece)
        found = parse_events(b"".join(pieces).decode(errors="replace"))
        return find_disks(self._tree, found) if found else ()

    def table(self, number: str) -> tuple[Target, ...]:
        try:
            return self._mapper.table_of(number)
        except NotFound:
            return ()

    def mapped(self) -> Mapping[str, str]:
        return {device.name: device.number for device in self._mapper.list_devices()}
