"""The hold layer under every member: requests wait when its path fails, until we say that they may fail.

It is a bio-based dm-multipath device with one path and `queue_if_no_path`. md alone acknowledges some writes
before anybody could record that a member is lost (docs: data plane); with this layer a lost member makes
writes wait.
"""

from dataclasses import dataclass

from replication.errors import FailedPrecondition, KernelError, NotFound
from replication.kernel import blockdev
from replication.kernel.dm import DeviceMapper, DmDevice
from replication.kernel.dm_wire import Target
from replication.kernel.sysfs import Tree

_UUID_PREFIX = "TRILITH-hold-"  # not `mpath-`: multipathd leaves it alone


@dataclass(frozen=True, slots=True)
class HoldState:
    """What the layer does now."""

    name: str
    number: str  # MAJOR:MINOR of the layer
    path: str  # MAJOR:MINOR of the device below
    path_active: bool
    fail_count: int
    queueing: bool  # requests wait when the path fails; after `release` they fail
    in_flight: int  # requests accepted and not ended: held, while the path has failed
    event_number: int
    size_bytes: int

    @property
    def holding(self) -> bool:
        """Whether requests wait for a decision."""
        return self.queueing and not self.path_active


class HoldLayer:
    """`device` and `path` are device numbers, `MAJOR:MINOR`."""

    def __init__(self, mapper: DeviceMapper, tree: Tree) -> None:
        self._mapper = mapper
        self._tree = tree

    def ensure(self, name: str, device: str, size_bytes: int) -> str:
        """Its kernel name (`dm-7`). FailedPrecondition when it exists, over another device or larger.

        One that lets go is no hold layer any more: it is made anew, or in use still, FailedPrecondition too.
        """
        found = self._mapper.find(name)
        if found is not None and found.has_table and self._check(found, device, size_bytes).queueing:
            self.ensure_running(name)
            return blockdev.kernel_name(self._tree, found.number)
        self._mapper.remove(name)  # one that crashed between create and load, or that lets go
        made = self._mapper.create(name, _UUID_PREFIX + name, (_target(device, size_bytes),))
        return blockdev.kernel_name(self._tree, made.number)

    def _check(self, found: DmDevice, device: str, size_bytes: int) -> HoldState:
        state = self.read(found.name)
        if found.uuid != _UUID_PREFIX + found.name:
            raise FailedPrecondition(f"{found.name} exists and is not a hold layer of ours: {found.uuid}")
        if (state.path, state.size_bytes) != (device, size_bytes):
            raise FailedPrecondition(
                f"hold layer {found.name} is {state.size_bytes} bytes over {state.path}, "
                f"not {size_bytes} bytes over {device}"
            )
        return state

    def read(self, name: str) -> HoldState:
        """NotFound when there is no such layer, or none yet: it has no table, and nobody can use it."""
        device = self._mapper.get(name)
        if not device.has_table:
            raise NotFound(f"{name} has no table")
        table = self._mapper.table(name)
        status = self._mapper.status(name)
        if len(table) != 1 or len(status) != 1 or table[0].kind != "multipath":
            raise FailedPrecondition(f"{name} is not a hold layer")
        kname = blockdev.kernel_name(self._tree, device.number)
        path, active, failures = parse_path(status[0].parameters)
        return HoldState(
            name=name,
            number=device.number,
            path=path,
            path_active=active,
            fail_count=failures,
            queueing=device.suspended or "queue_if_no_path" in table[0].parameters.split(),
            in_flight=blockdev.requests_in_flight(self._tree, kname),
            event_number=device.event_number,
            size_bytes=table[0].sectors * blockdev.SECTOR_BYTES,
        )

    def find(self, name: str) -> HoldState | None:
        try:
            return self.read(name)
        except NotFound:
            return None

    def release(self, name: str) -> None:
        """Requests of a failed path fail from now on, the held ones at once. One ioctl; repeatable.

        Only when the record no longer counts this member, or nobody counts who could see the acknowledgement.
        """
        self._mapper.message(name, "fail_if_no_path")

    def hold(self, name: str) -> None:
        """Requests of a failed path wait again: the state after `ensure`."""
        self._mapper.message(name, "queue_if_no_path")

    def fail_path(self, name: str, path: str) -> None:
        """Send nothing more to the device below; what is under way there ends as it ends."""
        self._mapper.message(name, f"fail_path {path}")

    def reinstate(self, name: str, path: str) -> None:
        """Use the path again; what is held is sent to it. Repeatable."""
        self._mapper.message(name, f"reinstate_path {path}")

    def reload(self, name: str, device: str, size_bytes: int) -> None:
        """Put the layer over `device`, path active: for a new size, or a device that came back as another."""
        self._mapper.replace_table(name, (_target(device, size_bytes),))

    def ensure_running(self, name: str) -> None:
        """Whoever gave it another table may have ended in between: then all that goes through it waits.

        Or nothing does any more: who suspends it makes it let go (multipath_presuspend), and nobody undoes
        it where a signal has ended the wait for what was under way (__dm_suspend; no `presuspend_undo`).
        """
        device = self._mapper.get(name)
        if device.suspended:
            self._mapper.resume(name)
        elif device.loaded:
            self.hold(name)

    def remove(self, name: str) -> None:
        """Repeatable. FailedPrecondition while an array uses it. Release first what it still holds."""
        self._mapper.remove(name)

    def arm_events(self) -> int:
        """A descriptor that polls readable once any layer has an event, a failed path above all."""
        return self._mapper.arm_events()

    def list_names(self, prefix: str) -> tuple[str, ...]:
        """Names of all device-mapper devices that begin with `prefix`."""
        names = (device.name for device in self._mapper.list_devices())
        return tuple(sorted(name for name in names if name.startswith(prefix)))


def _target(device: str, size_bytes: int) -> Target:
    parameters = f"3 queue_if_no_path queue_mode bio 0 1 1 service-time 0 1 1 {device} 1"
    return Target(0, size_bytes // blockdev.SECTOR_BYTES, "multipath", parameters)


def parse_path(status: str) -> tuple[str, bool, int]:
    """Device number, active, failures of the only path in multipath's status (drivers/md/dm-mpath.c).

    `2 QUEUE_IO INITS 0 GROUPS NEXT STATE 0 PATHS ARGS MAJ:MIN A|F FAILURES …`
    """
    words = status.split()
    features = int(words[0])
    path = words[1 + features :][7:10]
    if len(path) != 3 or path[1] not in ("A", "F"):
        raise KernelError(f"multipath's status is not understood: {status!r}")
    return path[0], path[1] == "A", int(path[2])
