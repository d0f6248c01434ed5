"""Inside a machine: write numbered blocks with O_DIRECT, telling a collector elsewhere what was acknowledged.

    python -I -S writer.py PATH COLLECTOR_HOST:PORT WRITERS BLOCKS_PER_WRITER PAUSE [KIND...]

Every writer owns a stretch of blocks and goes round it, with PAUSE seconds between its writes. Before a write
it sends `I writer block number`, and after the kernel has acknowledged it `A writer block number time`, or
`D` where it has also said that it is durable; an error is `E writer block errno`. Times are seconds of this
machine's monotonic clock. Writers are of all kinds in turn, or of those that are named: `plain`, `dsync` uses
O_DSYNC (forced unit access), `fdatasync` calls that after each write. Runs until it is killed.
"""

import mmap
import os
import select
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.checker.blocks import BLOCK_BYTES, Block, encode

PLAIN, DSYNC, FDATASYNC = "plain", "dsync", "fdatasync"


class Reporter:
    """One line for each event, over one connection; lines of different writers never mix.

    A line is on its way when `send` returns, unless the connection takes no more, as while this machine is
    cut off: what is written goes on, and its word follows.
    """

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._kept = bytearray()
        self._changed = threading.Condition()
        threading.Thread(target=self._follow, daemon=True).start()

    @property
    def keeps(self) -> bool:
        """Whether the connection has not taken all that was said."""
        return bool(self._kept)

    def send(self, line: str) -> None:
        with self._changed:
            self._kept += line.encode() + b"\n"
            self._send_some()
            if self._kept:
                self._changed.notify()

    def end(self) -> None:
        """All that was said is on its way when this returns: errors are what writers say last."""
        with self._changed:
            self._socket.setblocking(True)
            self._socket.sendall(self._kept)
            self._kept.clear()

    def _follow(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._kept)
            select.select([], [self._socket], [])
            with self._changed:
                self._send_some()

    def _send_some(self) -> None:
        with suppress(BlockingIOError):
            del self._kept[: self._socket.send(self._kept)]


class Writer(threading.Thread):
    """Goes round blocks `first` to `first + count` of the file or device."""

    def __init__(
        self, path: str, kind: str, number: int, count: int, pause: float, reporter: Reporter
    ) -> None:
        super().__init__(daemon=True)
        flags = os.O_WRONLY | os.O_DIRECT | (os.O_DSYNC if kind == DSYNC else 0)
        self._file = os.open(path, flags)
        self._kind = kind
        self._number, self._first, self._count = number, number * count, count
        self._pause = pause
        self._buffer = mmap.mmap(-1, BLOCK_BYTES)  # O_DIRECT wants an aligned buffer
        self._reporter = reporter

    def run(self) -> None:
        written = 0
        while True:
            written += 1
            self._write(Block(self._number, self._first + written % self._count, written))
            if self._pause:
                time.sleep(self._pause)

    def _write(self, block: Block) -> None:
        self._buffer[:] = encode(block)
        event = f"{block.writer} {block.index} {block.number}"
        self._reporter.send(f"I {event}")
        try:
            os.pwrite(self._file, self._buffer, block.index * BLOCK_BYTES)
            if self._kind == FDATASYNC:
                os.fdatasync(self._file)
        except OSError as error:
            self._reporter.send(f"E {block.writer} {block.index} {error.errno}")
            raise SystemExit(1) from error
        self._reporter.send(f"{'A' if self._kind == PLAIN else 'D'} {event} {time.monotonic():.3f}")


def fill(path: str, writers: int, count: int) -> None:
    """Number 0 in every block, durable, so that later only contents change and no metadata."""
    flags = os.O_WRONLY | (0 if path.startswith("/dev/") else os.O_CREAT)
    file = os.open(path, flags, 0o600)
    for index in range(writers * count):
        os.pwrite(file, encode(Block(index // count, index, 0)), index * BLOCK_BYTES)
    os.fsync(file)
    os.close(file)


def main() -> None:
    path, collector, writers, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pause, kinds = float(sys.argv[5]), sys.argv[6:] or (PLAIN, DSYNC, FDATASYNC)
    fill(path, writers, count)
    reporter = Reporter(collector)
    threads = [
        Writer(path, kinds[number % len(kinds)], number, count, pause, reporter) for number in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reporter.end()


if __name__ == "__main__":
    main()
