"""Records compared with what is on the nodes: what no record names, and what records name and is missing.

Records are read before and after the nodes are asked. A volume whose record changed meanwhile, or says that
something is under way, is left out and named: that operation, or whoever takes it up, knows better.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from replication.control.events import Events
from replication.control.nodes import Nodes
from replication.control.parallel import ask_all
from replication.control.store.base import Store
from replication.errors import Conflict, FailedPrecondition, NotFound, TrilithError
from replication.model import Attachment, Phase, Replica, Versioned, Volume
from replication.traces import Trace, TraceKind

ASK_SECONDS = 70.0
_ORDER = tuple(TraceKind)
_OF_CONSUMER = frozenset(
    {TraceKind.MOUNT, TraceKind.LIMIT, TraceKind.ARRAY, TraceKind.HOLD, TraceKind.CONNECTION}
)

Records = Mapping[str, Versioned]
"""By id."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should not be where it is, or is not where it should be."""

    node: str
    kind: TraceKind
    name: str
    volume: str  # its name, or its id where no record knows it
    problem: str
    trace: Trace | None  # what can be removed; None: it is missing
    precious: bool = False  # with it may go what somebody wrote


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, and where nobody could look."""

    findings: tuple[Finding, ...]
    silent: tuple[tuple[str, str], ...]  # nodes that do not answer, and why
    changing: tuple[str, ...]  # names of volumes that were left out


class Doctor:
    """Finds what operations should have left nowhere; removes it one thing at a time, when told to."""

    def __init__(self, store: Store, nodes: Nodes, events: Events) -> None:
        self._store = store
        self._nodes = nodes
        self._events = events

    def examine(self) -> Diagnosis:
        before = self._read()
        answers = self._ask()
        after = self._read()
        traces = {node: found for node, found in answers.items() if not isinstance(found, TrilithError)}
        silent = tuple((node, str(e)) for node, e in sorted(answers.items()) if isinstance(e, TrilithError))
        changing = find_changing(before, after)
        names = tuple(sorted({**before, **after}[volume_id].volume.name for volume_id in changing))
        return Diagnosis(diagnose(after, changing, traces), silent, names)

    def remove(self, finding: Finding) -> None:
        """Conflict when the record has come to name it; FailedPrecondition while it is in use."""
        trace = finding.trace
        if trace is None:
            return
        known = self._find(trace.volume_id)
        if known is not None and not find_fault(trace, finding.node, known):
            raise Conflict(f"{trace.kind} {trace.name} on node {finding.node} belongs to a volume by now")
        if trace.kind is TraceKind.EXPORT:
            self._check_unconnected(trace)
        self._nodes.to(finding.node).remove_trace(trace)
        what = f"{trace.kind} {trace.name} on node {finding.node}: {finding.problem}"
        self._events.write(trace.volume_id, "orphan-removed", what)

    def _check_unconnected(self, export: Trace) -> None:
        """Its own node cannot tell who has it: the others can. One that is silent may have it, too."""
        for node, found in self._ask().items():
            if isinstance(found, TrilithError):
                raise FailedPrecondition(f"node {node} may be connected to {export.name}: {found}")
            if any((t.kind, t.name) == (TraceKind.CONNECTION, export.name) for t in found):
                raise FailedPrecondition(f"node {node} is connected to {export.name}")

    def _ask(self) -> dict[str, tuple[Trace, ...] | TrilithError]:
        return ask_all({n.name: partial(self._list, n.name) for n in self._nodes.list()}, ASK_SECONDS)

    def _list(self, node: str) -> tuple[Trace, ...]:
        return self._nodes.to(node).list_traces()

    def _find(self, volume_id: str) -> Volume | None:
        """As it is now: lists may be behind."""
        try:
            return self._store.get_volume(volume_id).volume
        except NotFound:
            return None

    def _read(self) -> dict[str, Versioned]:
        return {found.volume.id: found for found in self._store.list_volumes()}


def find_changing(before: Records, after: Records) -> frozenset[str]:
    """Ids of volumes made, deleted or changed between the two, and of those with something under way."""
    same = {key for key in {*before, *after} if before.get(key) == after.get(key)}
    return frozenset({*before, *after} - same | {key for key in same if not _is_settled(after[key].volume)})


def _is_settled(volume: Volume) -> bool:
    settled = {Attachment.DETACHED, Attachment.ATTACHED}
    return volume.phase is Phase.READY and volume.attachment in settled


def diagnose(
    records: Records, changing: frozenset[str], traces: Mapping[str, tuple[Trace, ...]]
) -> tuple[Finding, ...]:
    """In the order in which things can be removed: what stands on something comes before it."""
    found = [
        finding
        for node, there in traces.items()
        for trace in there
        if trace.volume_id not in changing
        for finding in _judge(trace, node, records.get(trace.volume_id))
    ]
    settled = (known.volume for key, known in records.items() if key not in changing)
    found += [finding for volume in settled for finding in _find_missing(volume, traces)]
    return tuple(sorted(found, key=lambda f: (_ORDER.index(f.kind), f.node, f.name)))


def _judge(trace: Trace, node: str, known: Versioned | None) -> Iterator[Finding]:
    volume = known.volume if known else None
    problem = find_fault(trace, node, volume)
    if problem:
        newer = volume is not None and trace.epoch > volume.epoch
        name = volume.name if volume else trace.volume_id
        yield Finding(node, trace.kind, trace.name, name, problem, trace, trace.written or newer)


def find_fault(trace: Trace, node: str, volume: Volume | None) -> str:
    """Why this should not be on `node`, by the record of its volume; or nothing."""
    if volume is None:
        return "no record knows its volume"
    if trace.epoch > volume.epoch:
        return f"it is of epoch {trace.epoch}, the record of {volume.epoch}: was the store restored?"
    if trace.kind in _OF_CONSUMER:
        return _find_fault_of_consumer(trace, node, volume)
    return _find_fault_of_replica(trace, node, volume)


def _find_fault_of_replica(trace: Trace, node: str, volume: Volume) -> str:
    replica = next((r for r in volume.replicas if r.id == trace.replica_id), None)
    if replica is None:
        return f"the record has no replica {trace.replica_id}"
    if replica.node != node:
        return f"the record has replica {replica.id} on node {replica.node}"
    return _find_fault_of_export(trace, node, volume) if trace.kind is TraceKind.EXPORT else ""


def _find_fault_of_consumer(trace: Trace, node: str, volume: Volume) -> str:
    if volume.attachment is not Attachment.ATTACHED:
        return "the volume is not attached"
    if volume.consumer != node:
        return f"the volume is attached to node {volume.consumer}"
    return _find_old_epoch(trace, volume)


def _find_fault_of_export(trace: Trace, node: str, volume: Volume) -> str:
    if volume.attachment is not Attachment.ATTACHED:
        return "the volume is not attached"
    if volume.consumer == node:
        return "the volume is attached to this very node"
    return _find_old_epoch(trace, volume)


def _find_old_epoch(trace: Trace, volume: Volume) -> str:
    """What was made by hand may have no epoch."""
    if trace.epoch in {0, volume.epoch}:
        return ""
    return f"it is of epoch {trace.epoch}, the record of {volume.epoch}"


def _find_missing(volume: Volume, traces: Mapping[str, tuple[Trace, ...]]) -> Iterator[Finding]:
    for replica in volume.replicas:
        there = traces.get(replica.node)
        if there is not None and not any(_is_place(trace, volume, replica) for trace in there):
            name = f"{replica.volume_group}/{volume.id}_{replica.id}"
            problem = f"replica {replica.id} ({replica.state}) is not on its node"
            yield Finding(replica.node, TraceKind.LOGICAL_VOLUME, name, volume.name, problem, None)
    there = traces.get(str(volume.consumer)) if volume.attachment is Attachment.ATTACHED else None
    if there is not None and not any(_is_array(trace, volume) for trace in there):
        problem = "the volume is attached here, and has no array"
        yield Finding(str(volume.consumer), TraceKind.ARRAY, volume.id, volume.name, problem, None)


def _is_place(trace: Trace, volume: Volume, replica: Replica) -> bool:
    wanted = (TraceKind.LOGICAL_VOLUME, volume.id, replica.id)
    return (trace.kind, trace.volume_id, trace.replica_id) == wanted


def _is_array(trace: Trace, volume: Volume) -> bool:
    return trace.kind is TraceKind.ARRAY and trace.volume_id == volume.id
