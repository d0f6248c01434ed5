"""From a consumer's report to the record, and back as a confirmation.

Writes stand still meanwhile: no lock, and no other call before it. The newest report of an array replaces
those that wait.
"""

import threading
from collections.abc import Callable

from replication.clock import Clock
from replication.control.insync import in_sync, react
from replication.control.nodes import Nodes
from replication.control.records import Records
from replication.control.restored import catch_up
from replication.errors import NotFound, StaleEpoch, TrilithError, Unavailable
from replication.model import (
    ArrayReport,
    Confirmation,
    MemberHealth,
    MemberReport,
    ReplicaState,
    Versioned,
    Volume,
)
from replication.trouble import in_trouble

THREADS = 16
PER_NODE = 8
RETRY_SECONDS = 0.2

Superseded = Callable[[str, ArrayReport], None]


class Reporting:
    """Records what an array's agent reports, and tells it what the record says."""

    def __init__(self, records: Records, nodes: Nodes, superseded: Superseded) -> None:
        self._records = records
        self._nodes = nodes
        self._superseded = superseded

    def handle(self, node: str, report: ArrayReport) -> None:
        """Raise when the store or the node does not answer: nothing is confirmed that is not recorded."""
        if self._is_known(node, report):
            return
        news: ArrayReport | None = report
        while news is not None:
            try:
                record = self._change(node, news)
            except (NotFound, StaleEpoch):
                self._superseded(node, news)
                return
            answer = self._confirm(node, record, news) if awaits_word(record.volume, news) else None
            self._tell_why(record, news)
            news = answer

    def _is_known(self, node: str, report: ArrayReport) -> bool:
        """Without asking anybody: that all is well, and the record as it was known last says so.

        A newer one would not say more. Its agent knows no newer one, so a loss that is recorded there came
        after this report: an agent tells a loss again and again until it has had a word about it.
        """
        known = self._records.recall(report.volume_id)
        if known is None or in_trouble(report) or not 0 < report.record_version <= known.version:
            return False
        try:
            nothing_new = follow(node, report)(known.volume) == known.volume
        except TrilithError:
            return False
        return nothing_new and not awaits_word(known.volume, report)

    def _change(self, node: str, report: ArrayReport) -> Versioned:
        """A record that its agent knows a newer version of was restored: its words would not be heeded."""
        record = self._records.change(report.volume_id, follow(node, report))
        if record.version >= report.record_version:
            return record
        return self._records.raise_version(report.volume_id, report.record_version, follow(node, report))

    def _confirm(self, node: str, record: Versioned, report: ArrayReport) -> ArrayReport | None:
        """The agent read all its members again: its answer, when there is more to record in it."""
        answer = self._nodes.to(node).confirm(_word_of(record, report))
        try:
            return None if follow(node, answer)(record.volume) == record.volume else answer
        except TrilithError:
            return answer

    def _tell_why(self, record: Versioned, report: ArrayReport) -> None:
        """Of those that this report made stale; after the word, which writes wait for."""
        volume, stale = record.volume, ReplicaState.STALE
        changed = {r.id: r.node for r in volume.replicas if r.state is stale and r.as_of == record.version}
        for member in report.members:
            if member.replica_id in changed and member.health is MemberHealth.LOST:
                where = f"replica {member.replica_id} on node {changed[member.replica_id]}"
                self._records.tell(volume, "given-up", f"{where}: {member.reason}")


def _word_of(record: Versioned, report: ArrayReport) -> Confirmation:
    rebuilding = [r for r in record.volume.replicas if r.state is ReplicaState.REBUILDING]
    return Confirmation(
        volume_id=record.volume.id,
        epoch=report.epoch,
        record_version=record.version,
        in_sync=tuple(r.id for r in in_sync(record.volume)),
        rebuilding=tuple(r.id for r in rebuilding),
        report=report.sequence,
        attempts=tuple(r.as_of for r in rebuilding),
    )


def follow(node: str, report: ArrayReport, *, asked: bool = False) -> Callable[[Volume], Volume]:
    """What becomes of the record. It raises StaleEpoch when that has superseded the array.

    `asked`: as of `catch_up`.
    """

    def step(volume: Volume) -> Volume:
        if volume.consumer != node:
            raise StaleEpoch(f"volume {volume.name} is not attached to node {node}")
        return react(catch_up(volume, report, asked=asked), report)

    return step


def awaits_word(volume: Volume, report: ArrayReport) -> bool:
    """Whether the agent has a member whose fate depends on the record, changed just now or long before.

    Or knows no word of this array: of replicas that it does not have it is heard after one (restored.py).
    """
    states = {r.id: r.state for r in volume.replicas}
    fateful = any(_awaits(member, states.get(member.replica_id)) for member in report.members)
    return fateful or report.record_version == 0


def _awaits(member: MemberReport, state: ReplicaState | None) -> bool:
    """Lost; a member that is not counted (any more); or recovered.

    Not counted: it healed too late, or came by an attempt that the record has given up; nobody knows how that
    copies it. One that has recovered and is not recorded as such does not know of this attempt yet: the word
    tells it.
    """
    if member.health is MemberHealth.LOST:
        return True
    if member.health is MemberHealth.RECOVERED and state in {ReplicaState.IN_SYNC, ReplicaState.REBUILDING}:
        return True
    return state is ReplicaState.STALE and member.health is not MemberHealth.DROPPED


Key = tuple[str, str]  # node, volume


class Inbox:
    """The newest report of each array, handled by a few threads, one array at a time, in the order of coming.

    A node that has fallen silent keeps a thread for each of its arrays, again and again, for as long as it is
    waited for. Other nodes' writes must not wait for that: it has some of the threads, and from then on one.
    """

    def __init__(self, handle: Callable[[str, ArrayReport], None], clock: Clock) -> None:
        self._handle = handle
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[Key, ArrayReport] = {}
        self._busy: set[Key] = set()
        self._silent: set[str] = set()  # nodes that did not answer when they were asked last
        self._closed = False

    def start(self) -> None:
        for number in range(THREADS):
            threading.Thread(target=self._work, name=f"reports {number}", daemon=True).start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def put(self, node: str, report: ArrayReport) -> None:
        with self._changed:
            self._waiting[node, report.volume_id] = report
            self._changed.notify()

    def _work(self) -> None:
        while (item := self._take()) is not None:
            key, report = item
            silent = False
            try:
                self._handle(key[0], report)
            except TrilithError as error:
                silent = isinstance(error, Unavailable)
                self._clock.sleep(RETRY_SECONDS)  # the store or the node is away: the writes wait
                self._put_back(key, report)
            finally:
                self._release(key, silent=silent)

    def _take(self) -> tuple[Key, ArrayReport] | None:
        with self._changed:
            while not self._closed:
                key = next(filter(self._may_begin, self._waiting), None)
                if key is not None:
                    self._busy.add(key)
                    return key, self._waiting.pop(key)
                self._changed.wait()
        return None

    def _may_begin(self, key: Key) -> bool:
        node, _ = key
        limit = 1 if node in self._silent else PER_NODE
        return key not in self._busy and sum(busy == node for busy, _ in self._busy) < limit

    def _put_back(self, key: Key, report: ArrayReport) -> None:
        with self._changed:
            self._waiting.setdefault(key, report)

    def _release(self, key: Key, *, silent: bool) -> None:
        with self._changed:
            self._busy.discard(key)
            (self._silent.add if silent else self._silent.discard)(key[0])
            self._changed.notify_all()
