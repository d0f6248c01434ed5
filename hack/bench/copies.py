"""Copies to a replica that returns: how much, how fast, and what they take from whoever uses the volume."""

import json
import re
import statistics
import sys
from pathlib import Path

from hack.bench.figures import Board, Figure, Goal
from hack.bench.observe import await_redundant, await_that, find_state
from hack.bench.rival import Links, make_volume
from hack.lab.site import Site
from hack.lab.vm import Machine, Spawned
from replication.control.insync import renew_replica
from replication.model import MIB, ReplicaState

SIZE_BYTES = 512 * MIB
_GUEST = [sys.executable, "-I", "-S", str(Path(__file__).with_name("copies_guest.py"))]
_SECTOR = 512
_LINK_SIZE = f"{SIZE_BYTES // MIB}m"
_ROUNDS = 2
_BLOCKS = ("64k", "1M")  # md's own, and what somebody in a hurry would give dd
_WINDOW = 8.0  # seconds in which a user's operations are counted
_FIO = (
    "exec fio --thread --name=user --filename={device} --size=256m --rw=randwrite --bs=4k --direct=1 "
    "--time_based --runtime=3600 --ioengine=libaio --iodepth=16 --norandommap"
)


class Copies:
    """Of a new volume of SIZE_BYTES to which nobody has written: `device` on `consumer`."""

    def __init__(self, site: Site, volume_id: str, consumer: Machine, device: str, victim: Machine) -> None:
        """`victim` has a replica that goes away again and again."""
        self._site = site
        self._volume_id = volume_id
        self._consumer = consumer
        self._device = device
        self._victim = victim

    def measure(self, board: Board) -> None:
        self._measure_amount(board)
        self._measure_rate(board)
        self._measure_cost(board)

    def _measure_amount(self, board: Board) -> None:
        """By the victim's own counter, with what md writes to its bitmap."""
        self._lose()
        chunk = self._site.control.volumes.get(self._volume_id).bitmap_chunk_bytes
        ranges = [(number * 7 * chunk + 12345 * 4096, 4096) for number in range(8)] + [(0, 16 * MIB)]
        for offset, size in ranges:
            self._write(offset, size)
        before = self._read_written_bytes()
        self._return()
        copied = self._read_written_bytes() - before
        marked = count_chunks(ranges, chunk) * chunk
        board.note(f"bitmap recovery: {copied} bytes copied for {marked} in chunks of {chunk}")
        board.add(Figure("bitmap-recovery-copied-of-written", copied / marked, "ratio", Goal("<=", 2.0)))

    def _measure_rate(self, board: Board) -> None:
        """A full copy against dd over such a link, both ways in turn."""
        local = make_volume(self._consumer, "bench_source", _LINK_SIZE)
        with Links(self._consumer, [self._victim], "bench_target", _LINK_SIZE) as links:
            for path in (self._device, local):
                fill(self._consumer, path)
            plain: dict[str, list[float]] = {block: [] for block in _BLOCKS}
            rates = []
            for _ in range(_ROUNDS):
                for block, samples in plain.items():
                    samples.append(run_dd(self._consumer, local, links.devices[0], block))
                rates.append(self._copy_all())
        for block, samples in plain.items():
            ratios = tuple(rate / sample for rate, sample in zip(rates, samples, strict=True))
            name = f"rebuild-of-dd-{block.lower()}"
            board.add(Figure(name, statistics.median(ratios), "ratio", Goal(">=", 0.8), ratios))
        shown = ", ".join(f"{rate / MIB:.0f}" for rate in rates)
        board.note(f"full copies ran at {shown} MiB/s")

    def _measure_cost(self, board: Board) -> None:
        """While somebody writes as much as can be: with a copy under way, and without."""
        with_copy = []
        without = [self._count_writes(copying=False)]
        for _ in range(_ROUNDS):
            with_copy.append(self._count_writes(copying=True))
            without.append(self._count_writes(copying=False))
        taken = tuple(
            100 * (1 - 2 * rate / (before + after))
            for rate, before, after in zip(with_copy, without, without[1:], strict=False)
        )
        board.add(
            Figure("rebuild-takes-of-user-writes", statistics.median(taken), "%", Goal("<=", 50), taken)
        )

    # The victim goes and comes

    def _lose(self) -> None:
        self._victim.cut()
        await_that(lambda: self._state() is ReplicaState.STALE, "the replica to be recorded stale")

    def _return(self) -> None:
        self._victim.heal()
        await_redundant(self._site, self._volume_id)

    def _state(self) -> ReplicaState:
        return find_state(self._site, self._volume_id, self._victim.name)

    def _copy_all(self) -> float:
        """Bytes a second of a full copy."""
        self._lose()
        replica = self._replica_id()
        self._site.control.records.change(self._volume_id, lambda volume: renew_replica(volume, replica))
        watch = self._consumer.spawn([*_GUEST, f"/sys/block/md_{self._volume_id}/md"])
        self._return()
        watch.wait()
        told = json.loads(watch.output)
        return float(told["bytes"] / told["seconds"])

    def _count_writes(self, *, copying: bool) -> float:
        """Writes a second that a user gets done. AssertionError when no copy was under way all the time."""
        load = self._consumer.spawn(_FIO.format(device=self._device))
        try:
            self._await_load()
            if copying:
                self._lose()
                self._victim.heal()
                await_that(self._is_copying, "the copy to begin")
            rate = self._watch_writes()
            if copying and not self._is_copying():
                raise AssertionError(f"the copy ended within {_WINDOW:g} s")
        finally:
            end(load)
        await_redundant(self._site, self._volume_id)
        return rate

    def _await_load(self) -> None:
        """A few seconds of it: starting fio takes long."""
        goal = self._read_stat()[0] + 500
        await_that(lambda: self._read_stat()[0] > goal, "the load to begin")

    def _watch_writes(self) -> float:
        before, begun = self._read_stat()
        await_that(lambda: self._read_stat()[1] - begun >= _WINDOW, "the window to end")
        after, ended = self._read_stat()
        return (after - before) / (ended - begun)

    def _read_stat(self) -> tuple[int, float]:
        """Writes to the device so far, and the machine's own clock."""
        stat = f"/sys/block/md_{self._volume_id}/stat"
        words = self._consumer.succeed(["cat", stat, "/proc/uptime"]).split()
        return int(words[4]), float(words[-2])

    def _is_copying(self) -> bool:
        path = f"/sys/block/md_{self._volume_id}/md/sync_action"
        return self._consumer.read_file(path).decode().strip() == "recover"

    def _write(self, offset: int, size: int) -> None:
        block = min(size, MIB)
        place = f"bs={block} count={size // block} oflag=direct,seek_bytes seek={offset}"
        self._consumer.succeed(f"dd if=/dev/urandom of={self._device} {place} conv=notrunc status=none")

    def _replica_id(self) -> str:
        replicas = self._site.control.volumes.get(self._volume_id).replicas
        return next(replica.id for replica in replicas if replica.node == self._victim.name)

    def _read_written_bytes(self) -> int:
        replicas = self._site.control.volumes.get(self._volume_id).replicas
        group = next(replica.volume_group for replica in replicas if replica.node == self._victim.name)
        device = f"/dev/{group}/{self._volume_id}_{self._replica_id()}"
        number = self._victim.succeed(["stat", "-Lc", "%Hr:%Lr", device]).strip()
        stat = self._victim.read_file(f"/sys/dev/block/{number}/stat").decode()
        return int(stat.split()[6]) * _SECTOR


def count_chunks(ranges: list[tuple[int, int]], chunk: int) -> int:
    """How many chunks the (offset, size) ranges touch."""
    touched = (range(offset // chunk, (offset + size - 1) // chunk + 1) for offset, size in ranges)
    return len(set().union(*touched))


def fill(machine: Machine, path: str) -> None:
    """With something that is not zero: an emulated disk does not write zeroes."""
    size = f"bs=1M count={SIZE_BYTES // MIB} iflag=fullblock oflag=direct"
    machine.succeed(f"yes trilith | dd of={path} {size} status=none", timeout=300)


def run_dd(machine: Machine, source: str, target: str, block: str) -> float:
    """Bytes a second."""
    said = machine.run(f"dd if={source} of={target} bs={block} iflag=direct oflag=direct", timeout=300).stderr
    return parse_dd(said)


def parse_dd(said: str) -> float:
    """Bytes a second, from the last line that dd says."""
    found = re.search(r"^(\d+) bytes .* copied, ([\d.e+-]+) s,", said, re.MULTILINE)
    if found is None:
        raise ValueError(f"dd said {said!r}")
    return int(found[1]) / float(found[2])


def end(load: Spawned) -> None:
    load.kill()
    load.wait()
