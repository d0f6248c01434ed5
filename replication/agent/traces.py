"""All that volumes have left on this node, read anew, and taken away one thing at a time.

Nothing is forced: what something else stands on, or somebody has open, is refused by name.
"""

import re
from collections.abc import Callable, Iterator

from replication.agent.limits import find_workloads
from replication.agent.machine import Machine
from replication.agent.members import Members
from replication.agent.names import (
    NQN_PREFIX,
    array_name,
    logical_volume_name,
    parse_export_name,
)
from replication.agent.replicas import FENCE_TIMEOUT, Replicas
from replication.agent.storage import Storage
from replication.errors import (
    DataLoss,
    FailedPrecondition,
    KernelError,
    NotFound,
    StaleEpoch,
    Unsupported,
)
from replication.kernel import blockdev, cgroup, header, md
from replication.kernel.cgroup import IoLimits
from replication.kernel.md_state import device_of, list_arrays
from replication.kernel.mounts import Mount, Mounts
from replication.traces import Trace, TraceKind

_DEVICE = re.compile(re.escape(array_name("")) + r"(v[0-9a-f]+)")


class Traces:
    """`list_traces` and `remove_trace` of rpc/contract.py."""

    def __init__(self, machine: Machine, storage: Storage, replicas: Replicas, members: Members) -> None:
        self._machine = machine
        self._storage = storage
        self._replicas = replicas
        self._members = members
        self._mounts = Mounts(machine.runner, machine.tree)

    def list_all(self) -> tuple[Trace, ...]:
        return (
            *self._list_mounts(),
            *self._list_limits(),
            *self._list_arrays(),
            *self._list_holds(),
            *self._list_connections(),
            *self._list_exports(),
            *self._list_logical_volumes(),
        )

    def _list_mounts(self) -> Iterator[Trace]:
        """Also of arrays that are gone: a mount outlives them."""
        for mount in self._mounts.list_mounts():
            volume_id = parse_device(mount)
            if volume_id:
                yield Trace(TraceKind.MOUNT, mount.path, volume_id, epoch=self._find_epoch(volume_id))

    def _list_limits(self) -> Iterator[Trace]:
        try:
            workloads = find_workloads(self._machine.tree)
        except Unsupported:
            return
        for volume_id in list_arrays(self._machine.tree):
            number = self._machine.tree.device_number(device_of(volume_id))
            if cgroup.read_limits(self._machine.tree, workloads, number) != IoLimits():
                yield Trace(TraceKind.LIMIT, number, volume_id, epoch=self._find_epoch(volume_id))

    def _list_arrays(self) -> Iterator[Trace]:
        for volume_id in list_arrays(self._machine.tree):
            epoch = self._find_epoch(volume_id)
            yield Trace(TraceKind.ARRAY, array_name(volume_id), volume_id, epoch=epoch)

    def _find_epoch(self, volume_id: str) -> int:
        """Of the newest attachment here; 0 when there is none."""
        return max((name.epoch for name, _ in self._members.find_holds(volume_id)), default=0)

    def _list_holds(self) -> Iterator[Trace]:
        for name, state in self._members.find_holds():
            yield Trace(TraceKind.HOLD, state.name, name.volume_id, name.replica_id, name.epoch)

    def _list_connections(self) -> Iterator[Trace]:
        for controller in self._machine.host.list_controllers(NQN_PREFIX):
            yield _trace_nqn(TraceKind.CONNECTION, controller.nqn)

    def _list_exports(self) -> Iterator[Trace]:
        for export in self._machine.target.list_exports(NQN_PREFIX):
            yield _trace_nqn(TraceKind.EXPORT, export.nqn)

    def _list_logical_volumes(self) -> Iterator[Trace]:
        self._storage.refresh()
        for place in self._storage.list_places():
            name = f"{place.volume_group}/{logical_volume_name(place.volume_id, place.replica_id)}"
            epoch, written = self._read_header(place.device)
            yield Trace(
                TraceKind.LOGICAL_VOLUME, name, place.volume_id, place.replica_id, epoch, written=written
            )
        for part in self._storage.list_remains():
            name, ids = "/".join(part.key), (part.name.volume_id, part.name.replica_id)
            epoch, written = self._read_header(part.device)
            yield Trace(TraceKind.LOGICAL_VOLUME, name, *ids, epoch, written=written)

    def _read_header(self, device: str) -> tuple[int, bool]:
        """Its epoch, and whether somebody may have written to it: what cannot be read may hold anything."""
        try:
            head = header.find_header(device)
        except (DataLoss, KernelError, NotFound):
            return 0, True
        if head is None:
            return 0, False
        return head.epoch, head.epoch > 0 or head.cluster != self._machine.cluster

    def remove(self, trace: Trace) -> None:
        """FailedPrecondition when something stands on it or has it open. Repeatable.

        Of arrays only those that the agent does not watch: the others are to be detached. What has no epoch
        in its name may have been made anew since it was looked at: StaleEpoch.
        """
        nameless = trace.kind in {TraceKind.MOUNT, TraceKind.LIMIT, TraceKind.ARRAY}
        if nameless and self._find_epoch(trace.volume_id) > trace.epoch:
            raise StaleEpoch(f"{trace.kind} {trace.name}: volume {trace.volume_id} is attached anew by now")
        tree = self._machine.tree
        removers: dict[TraceKind, Callable[[Trace], None]] = {
            TraceKind.MOUNT: self._remove_mount,
            TraceKind.LIMIT: self._remove_limit,
            TraceKind.ARRAY: lambda found: md.stop(tree, found.volume_id, self._machine.clock),
            TraceKind.HOLD: self._remove_hold,
            TraceKind.CONNECTION: self._remove_connection,
            TraceKind.EXPORT: lambda found: self._machine.target.fence(found.name, timeout=FENCE_TIMEOUT),
            TraceKind.LOGICAL_VOLUME: lambda found: self._replicas.remove(found.volume_id, found.replica_id),
        }
        removers[trace.kind](trace)

    def _remove_mount(self, trace: Trace) -> None:
        mount = self._mounts.find(trace.name)
        if mount is not None and parse_device(mount) != trace.volume_id:
            raise FailedPrecondition(f"{trace.name} shows something else by now")
        self._mounts.unmount(trace.name)

    def _remove_limit(self, trace: Trace) -> None:
        """A device number is given to the next array when one is gone, and its limits go with it."""
        if any(
            trace.name == found.name for found in self._list_limits() if found.volume_id == trace.volume_id
        ):
            cgroup.remove_limits(self._machine.tree, find_workloads(self._machine.tree), trace.name)

    def _remove_hold(self, trace: Trace) -> None:
        state = self._machine.holds.find(trace.name)
        if state is not None:
            self._check_bare(trace, blockdev.kernel_name(self._machine.tree, state.number))
            self._members.remove(trace.name, "")

    def _remove_connection(self, trace: Trace) -> None:
        namespace = self._machine.host.find_namespace(trace.name)
        if namespace is not None:
            self._check_bare(trace, namespace)
        self._machine.host.disconnect(trace.name)

    def _check_bare(self, trace: Trace, kname: str) -> None:
        above = blockdev.holders(self._machine.tree, kname)
        if above:
            raise FailedPrecondition(f"{trace.kind} {trace.name} is in use by {', '.join(above)}")


def _trace_nqn(kind: TraceKind, nqn: str) -> Trace:
    """A name that only begins like one of ours is of no volume."""
    name = parse_export_name(nqn)
    if name is None:
        return Trace(kind, nqn, "")
    return Trace(kind, nqn, name.volume_id, name.replica_id, name.epoch)


def parse_device(mount: Mount) -> str:
    """The volume whose device is mounted, or bound to a file as a block volume's is; or nothing."""
    path = mount.root.removesuffix("//deleted") if mount.kind == "devtmpfs" else mount.source
    found = _DEVICE.fullmatch(path.rpartition("/")[2])
    return found[1] if found else ""
