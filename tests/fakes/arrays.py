"""What stands on a fake node: exports, arrays, and the streams that report them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from queue import Empty, Queue
from typing import Protocol

from replication.errors import Unavailable
from replication.model import ArrayReport, AttachSpec, Confirmation, Consumer, MemberHealth, MemberReport
from replication.tuning import Tuning

WATCH_POLL = 0.01


class MayFallSilent(Protocol):
    """A node, as its listeners see it."""

    name: str
    silent: bool


@dataclass(slots=True)
class FakeExport:
    """What one replica is exported as, and to whom."""

    nqn: str
    epoch: int
    consumer: Consumer


@dataclass(slots=True)
class FakeArray:
    """An assembled array on a consumer."""

    spec: AttachSpec
    members: dict[str, MemberReport]
    size_bytes: int
    record_version: int
    resync_done: bool
    in_use: bool = False
    tuning: Tuning | None = None
    activity: str = "idle"
    mismatched_bytes: int = 0

    @property
    def device(self) -> str:
        return f"/dev/md_{self.spec.volume_id}"

    @property
    def slots(self) -> int:
        return self.tuning.slots if self.tuning else self.spec.replica_count

    def has_member(self, replica_id: str) -> bool:
        member = self.members.get(replica_id)
        return member is not None and member.health is not MemberHealth.DROPPED

    def count_members(self) -> int:
        return sum(self.has_member(replica_id) for replica_id in self.members)

    def report(self) -> ArrayReport:
        spec = self.spec
        members = tuple(self.members.values())
        return ArrayReport(
            volume_id=spec.volume_id,
            epoch=spec.epoch,
            record_version=self.record_version,
            members=members,
            resync_done=self.resync_done,
            device=self.device,
            tuning=self.tuning,
            activity=self.activity,
            mismatched_bytes=self.mismatched_bytes,
        )


class FakeReports:
    """A listener's stream; ends with Unavailable when its node falls silent."""

    def __init__(self, node: MayFallSilent, poll: float = WATCH_POLL) -> None:
        """`poll`: seconds after which silence, or the end, is noticed."""
        self._node = node
        self._poll = poll
        self._closed = False
        self.queue: Queue[ArrayReport] = Queue()

    def __iter__(self) -> Iterator[ArrayReport]:
        return self

    def __next__(self) -> ArrayReport:
        while not self._closed:
            if self._node.silent:
                raise Unavailable(f"node {self._node.name} does not answer")
            try:
                return self.queue.get(timeout=self._poll)
            except Empty:
                continue
        raise StopIteration

    def close(self) -> None:
        self._closed = True


def is_local(array: FakeArray, replica_id: str) -> bool:
    return any(m.replica_id == replica_id and m.target is None for m in array.spec.members)


def confirmed(member: MemberReport, word: Confirmation) -> MemberReport:
    """What becomes of it."""
    counted, awaited = member.replica_id in word.in_sync, member.replica_id in word.rebuilding
    if not counted and (member.health is MemberHealth.LOST or not awaited):
        return replace(member, health=MemberHealth.DROPPED)
    if counted and member.health is MemberHealth.RECOVERED:
        return replace(member, health=MemberHealth.GOOD)
    return member
