"""Inside a machine: 32 writers of numbered blocks, and what was acknowledged of them.

Even writers go round the blocks of one bitmap chunk, which stays dirty; odd ones write each time to a chunk
that they have left alone for seconds, whose bit md has cleared meanwhile. Every third uses O_DSYNC.

Each is a process of its own, because threads of one interpreter would fight for it; what they know lies in
memory that they share with the one that started them.
"""

import mmap
import os
import signal
import time
from dataclasses import dataclass

from hack.checker.blocks import BLOCK_BYTES, Block, decode, encode

WRITERS = 32
CHUNK_BYTES = 64 << 10
CHUNKS_PER_WRITER = 64
_BLOCKS_PER_CHUNK = CHUNK_BYTES // BLOCK_BYTES
_PACE = 0.3  # seconds between two writes: more would leave an emulated machine no time for anything else
_WORDS = 2 * CHUNKS_PER_WRITER + 4  # of a writer: two numbers for each of its blocks, then the words below
_WRITTEN, _ISSUED, _ERROR, _DONE = range(2 * CHUNKS_PER_WRITER, _WORDS)

Known = dict[int, tuple[int, int]]
"""Of each block: the number acknowledged last (0: none), and the number issued last."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One writer; runs in its own process. `words` is its part of the shared memory."""

    number: int
    words: "memoryview[int]"

    def run(self, path: str, stop: "memoryview[int]") -> None:
        flags = os.O_WRONLY | os.O_DIRECT | (os.O_DSYNC if self.number % 3 == 1 else 0)
        file, buffer, count = os.open(path, flags), mmap.mmap(-1, BLOCK_BYTES), 0
        while not stop[0] and not self.words[_ERROR]:
            count += 1
            self._write(file, buffer, count)
            time.sleep(_PACE)  # noqa: TID251 - inside a machine, where time is real
        os.close(file)
        self.words[_DONE] = 1

    def _write(self, file: int, buffer: mmap.mmap, count: int) -> None:
        place = count % (CHUNKS_PER_WRITER if self.is_clean() else _BLOCKS_PER_CHUNK)
        index = self.index(place)
        buffer[:] = encode(Block(self.number, index, count))
        self.words[2 * place + 1] = self.words[_ISSUED] = count
        try:
            os.pwrite(file, buffer, index * BLOCK_BYTES)
        except OSError as error:
            self.words[_ERROR] = error.errno or -1
            return
        self.words[2 * place] = self.words[_WRITTEN] = count

    def is_clean(self) -> bool:
        return self.number % 2 == 1

    def index(self, place: int) -> int:
        """The block that its `place`th is."""
        first = self.number * CHUNKS_PER_WRITER * _BLOCKS_PER_CHUNK
        return first + place * (_BLOCKS_PER_CHUNK if self.is_clean() else 1)

    def known(self) -> Known:
        """Acknowledgements are read first: what comes between makes a block look newer, never older."""
        done, issued = self.words[0 : 2 * CHUNKS_PER_WRITER : 2].tolist(), self.words.tolist()[1::2]
        places = range(CHUNKS_PER_WRITER)
        return {self.index(place): (done[place], issued[place]) for place in places if issued[place]}


class Writers:
    """All writers of one array."""

    def __init__(self, path: str) -> None:
        shared = memoryview(mmap.mmap(-1, 8 * (WRITERS * _WORDS + 1))).cast("q")
        self._stop = shared[WRITERS * _WORDS :]
        parts = [shared[number * _WORDS : (number + 1) * _WORDS] for number in range(WRITERS)]
        self._all = [Writer(number, part) for number, part in enumerate(parts)]
        self._pids = [self._fork(writer, path) for writer in self._all]

    def _fork(self, writer: Writer, path: str) -> int:
        pid = os.fork()
        if not pid:
            try:
                writer.run(path, self._stop)
            finally:
                os._exit(0)
        return pid

    def counts(self) -> list[int]:
        """Writes acknowledged, writer by writer."""
        return [writer.words[_WRITTEN] for writer in self._all]

    def errors(self) -> list[int]:
        return [error for writer in self._all if (error := writer.words[_ERROR])]

    def in_flight(self) -> int:
        return sum(writer.words[_ISSUED] > writer.words[_WRITTEN] for writer in self._all)

    def known(self) -> Known:
        return {index: numbers for writer in self._all for index, numbers in writer.known().items()}

    def stop(self) -> None:
        """Returns when the last write has been acknowledged."""
        self._stop[0] = 1
        for pid in self._pids:
            os.waitpid(pid, 0)

    def kill(self) -> None:
        """Nobody waits for what they wait for."""
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)

    def read_back(self, path: str) -> tuple[int, int]:
        """Read every block once from `path` while writers go on: how many were read, how many were stale."""
        stale, indexes = 0, sorted(self.known())
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, BLOCK_BYTES) as buffer:
            for index in indexes:
                least = self._acknowledged(index)
                os.preadv(file, [buffer], index * BLOCK_BYTES)
                block = decode(buffer[:])
                stale += (0 if block is None else block.number) < least
        os.close(file)
        return len(indexes), stale

    def _acknowledged(self, index: int) -> int:
        writer = self._all[index // (CHUNKS_PER_WRITER * _BLOCKS_PER_CHUNK)]
        place = index % (CHUNKS_PER_WRITER * _BLOCKS_PER_CHUNK)
        return writer.words[2 * (place // _BLOCKS_PER_CHUNK if writer.is_clean() else place)]
