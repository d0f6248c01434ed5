"""Outside the machines: the list of what was acknowledged, and the judgement of what is found later.

A block must hold the newest write to it that was acknowledged, or one that was issued after that. Anything
else, damage included, is a lost acknowledged write. A machine that dies may take with it the word of one
write of each writer, the one after the newest that we were told of. Where all disks lost what was not
flushed, only those writes count of which the kernel had said that they are durable.
"""

import copy
import itertools
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class History:
    """What is known of one block; numbers as in blocks.py."""

    acknowledged: int = 0
    issued: int = 0
    durable: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`checked` counts acknowledged writes, `lost` blocks that are older than acknowledged, or damaged."""

    checked: int
    lost: tuple[str, ...]


@dataclass(slots=True)
class Record:
    """Everything that writers have told. Not thread-safe: the collector feeds it from one thread."""

    blocks: dict[int, History] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)  # number issued, by writer
    acknowledged: int = 0
    durable: int = 0
    errors: list[str] = field(default_factory=list)
    last_acknowledged_at: float | None = None
    longest_stall: float = 0.0
    _last_told: tuple[int, float] = (0, 0.0)  # whose clock, and its time

    def take(self, line: str, now: float, source: int = 0) -> None:
        """`now` is when it came. What comes from one `source` tells times of one clock."""
        kind, writer, index, number, *told = line.split()
        if kind == "E":
            self.errors.append(f"writer {writer}, block {index}: errno {number}")
            return
        history = self.blocks.setdefault(int(index), History())
        if kind == "I":
            history.issued = self.newest[int(writer)] = int(number)
            return
        history.acknowledged = int(number)
        self.acknowledged += 1
        if kind == "D":
            history.durable = int(number)
            self.durable += 1
        self._note_time(now, source, float(told[0]) if told else now)

    def _note_time(self, now: float, source: int, told: float) -> None:
        """Between two of one writing machine by its own clock: their word comes late while it is cut off."""
        if self.last_acknowledged_at is not None:
            before, at = self._last_told
            stall = told - at if source == before else now - self.last_acknowledged_at
            self.longest_stall = max(self.longest_stall, stall)
        self.last_acknowledged_at, self._last_told = now, (source, told)

    def judge(self, dump: Iterable[str], *, durable_only: bool = False) -> Verdict:
        """`dump` is what dump.py printed."""
        lost = [reason for line in dump if (reason := self._judge_block(line.split(), durable_only))]
        return Verdict(self.durable if durable_only else self.acknowledged, tuple(lost))

    def demanding(self, before: "Record") -> "Record":
        """What is known now, of which only what had been acknowledged `before` has to be there."""
        demands = copy.deepcopy(self)
        demands.acknowledged = before.acknowledged
        for index, history in demands.blocks.items():
            history.acknowledged = before.blocks.get(index, History()).acknowledged
        return demands

    def _judge_block(self, words: list[str], durable_only: bool) -> str:
        index = int(words[0])
        if words[1] == "damaged":
            return f"block {index}: damaged"
        history, number = self.blocks.get(index, History()), int(words[3])
        if int(words[2]) != index:
            return f"block {index}: holds block {words[2]}"
        demanded = history.durable if durable_only else history.acknowledged
        untold = number == self.newest.get(int(words[1]), 0) + 1
        if number < demanded or not (number <= history.issued or untold):
            known = f"acknowledged {history.acknowledged}, durable {history.durable}, issued {history.issued}"
            return f"block {index}: holds {number}, {known}"
        return ""


class Collector:
    """Listens for writers on `address`, an IPv4 address of the lab's network; a context manager."""

    def __init__(self, address: str) -> None:
        self.record = Record()
        self._listener = socket.create_server((address, 0))
        self.endpoint = f"{address}:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="collector", daemon=True)

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def restart_stall_watch(self) -> None:
        """Forget the longest stall: what follows is a new part of the story."""
        with self._lock:
            self.record.longest_stall = 0.0

    def acknowledged(self) -> int:
        with self._lock:
            return self.record.acknowledged

    def stall(self) -> float:
        """The longest time without an acknowledgement, the present one included, in seconds."""
        with self._lock:
            last = self.record.last_acknowledged_at
            return max(self.record.longest_stall, time.monotonic() - last if last else 0.0)

    def errors(self) -> list[str]:
        with self._lock:
            return list(self.record.errors)

    def judge(self, dump: str, *, durable_only: bool = False) -> Verdict:
        with self._lock:
            return self.record.judge(dump.splitlines(), durable_only=durable_only)

    def snapshot(self) -> Record:
        """What is known now, to judge by it later."""
        with self._lock:
            return copy.deepcopy(self.record)

    def _accept(self) -> None:
        for source in itertools.count(1):
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the end
                return
            threading.Thread(target=self._read, args=(connection, source), daemon=True).start()

    def _read(self, connection: socket.socket, source: int) -> None:
        with connection, connection.makefile("r", encoding="ascii") as lines:
            try:
                for line in lines:
                    if line.endswith("\n"):  # a line cut short by the writer's death tells nothing
                        self._take(line, source)
            except OSError:  # reset by a machine that came back and knows nothing of it
                return

    def _take(self, line: str, source: int) -> None:
        with self._lock:
            self.record.take(line, time.monotonic(), source)
