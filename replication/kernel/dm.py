"""Device-mapper devices by ioctl on /dev/mapper/control: no dmsetup, no fork, no udev.

devtmpfs makes `/dev/dm-N` by itself; nothing here needs a node in /dev/mapper other than `control`.
"""

import errno
import fcntl
import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from replication.errors import FailedPrecondition, KernelError, NotFound, TrilithError, Unsupported
from replication.kernel.dm_wire import (
    Answer,
    Command,
    Flag,
    Listed,
    Request,
    Target,
    encode_message,
    encode_request,
    encode_targets,
    parse_answer,
    parse_dependencies,
    parse_list,
    parse_number,
    parse_targets,
)

_SMALL_BYTES = 4096
_LARGE_BYTES = 1 << 20
# In the event number of a resume or removal, for a udev that runs all the same: nobody's rules (DM,
# SUBSYSTEM, DISK, OTHER), and the event comes from us (PRIMARY_SOURCE); a blkid that reads a held
# device would hang. Source: libdevmapper.h, DM_UDEV_*.
_QUIET_UDEV = 0x004F << 16


class Control(Protocol):
    """/dev/mapper/control."""

    def ioctl(self, request: int, buffer: bytearray) -> None:
        """Raises OSError."""

    def fileno(self) -> int:
        """Readable once an event has happened after ARM_POLL."""


class ControlNode:
    """The real one, held open, so that the release path opens nothing."""

    def __init__(self, path: str = "/dev/mapper/control") -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR)
        except OSError as error:
            raise Unsupported(f"{path}: {error.strerror}; load the kernel module dm-mod") from error

    def ioctl(self, request: int, buffer: bytearray) -> None:
        fcntl.ioctl(self._descriptor, request, buffer, True)

    def fileno(self) -> int:
        return self._descriptor


@dataclass(frozen=True, slots=True)
class DmDevice:
    """A device-mapper device as it is now."""

    name: str
    uuid: str
    number: str  # MAJOR:MINOR
    open_count: int
    event_number: int
    suspended: bool
    has_table: bool
    loaded: bool = False  # another table waits to be put in force


class DeviceMapper:
    """Every method raises NotFound when the device named does not exist, KernelError for other refusals."""

    def __init__(self, control: Control | None = None) -> None:
        self._control = ControlNode() if control is None else control

    def create(self, name: str, uuid: str, targets: tuple[Target, ...]) -> DmDevice:
        """Make, load and start; what is half made is removed again."""
        self._ask(Command.CREATE, Request(name=name, uuid=uuid))
        try:
            self.load(name, targets)
            self.resume(name)
        except TrilithError:
            self.remove(name)
            raise
        return self.get(name)

    def find(self, name: str) -> DmDevice | None:
        try:
            return self.get(name)
        except NotFound:
            return None

    def get(self, name: str) -> DmDevice:
        return _device(self._ask(Command.STATUS, Request(name=name)))

    def count_opens(self, number: str) -> int:
        """How often `MAJOR:MINOR` is open: by mounts, md, targets, processes; 0 when it is not ours."""
        try:
            return self._ask(Command.STATUS, Request(device=_parse_number(number))).open_count
        except NotFound:
            return 0

    def is_open(self, path: str) -> bool:
        """Whether anything has the device-mapper device at `path` open; False for what is no such device."""
        try:
            device = Path(path).stat().st_rdev
        except FileNotFoundError:
            return False
        return device > 0 and self.count_opens(parse_number(device)) > 0

    def load(self, name: str, targets: tuple[Target, ...]) -> None:
        """Into the inactive slot; `resume` makes it the one in force."""
        data = encode_targets(targets)
        self._ask(Command.LOAD, Request(name=name, target_count=len(targets), data=data))

    def suspend(self, name: str) -> None:
        """New requests wait; those that the target holds go on being held (noflush, without lockfs)."""
        flags = Flag.SUSPEND | Flag.NOFLUSH | Flag.SKIP_LOCKFS
        self._ask(Command.SUSPEND, Request(name=name, flags=flags))

    def resume(self, name: str) -> None:
        self._ask(Command.SUSPEND, Request(name=name, event_number=_QUIET_UDEV))

    def replace_table(self, name: str, targets: tuple[Target, ...]) -> None:
        """Another table under a running device: what is held stays held, then follows the new table."""
        self.load(name, targets)
        self.suspend(name)
        self.resume(name)

    def remove(self, name: str) -> None:
        """Repeatable. FailedPrecondition while somebody has it open."""
        try:
            self._ask(Command.REMOVE, Request(name=name, event_number=_QUIET_UDEV))
        except NotFound:
            return

    def table(self, name: str) -> tuple[Target, ...]:
        request = Request(name=name, flags=Flag.STATUS_TABLE)
        return parse_targets(self._ask(Command.TABLE, request))

    def table_of(self, number: str) -> tuple[Target, ...]:
        """Of the device `MAJOR:MINOR`."""
        request = Request(device=_parse_number(number), flags=Flag.STATUS_TABLE)
        return parse_targets(self._ask(Command.TABLE, request))

    def status(self, name: str) -> tuple[Target, ...]:
        """What each target says of its state. NOFLUSH: do not make the target commit anything first."""
        return parse_targets(self._ask(Command.TABLE, Request(name=name, flags=Flag.NOFLUSH)))

    def message(self, name: str, text: str, sector: int = 0) -> None:
        self._ask(Command.MESSAGE, Request(name=name, data=encode_message(sector, text)))

    def list_devices(self) -> tuple[Listed, ...]:
        return parse_list(self._ask(Command.LIST, Request()))

    def dependencies(self, name: str) -> tuple[str, ...]:
        """`MAJOR:MINOR` of the devices below."""
        return parse_dependencies(self._ask(Command.DEPENDENCIES, Request(name=name)))

    def arm_events(self) -> int:
        """From now on the descriptor returned polls readable (POLLIN) once any device has an event.

        Compare event numbers (`list_devices`) after arming and before polling, so that none is missed.
        """
        self._ask(Command.ARM_POLL, Request())
        return self._control.fileno()

    def wait_event(self, name: str, seen: int, timeout: float) -> int:
        """The event number once it is no longer `seen`; `seen` after `timeout` seconds without an event."""
        descriptor = self.arm_events()
        current = self.get(name).event_number
        if current == seen:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(timeout * 1000)
            current = self.get(name).event_number
        return current

    def _ask(self, command: Command, request: Request) -> Answer:
        for size in (_SMALL_BYTES, _LARGE_BYTES):
            buffer = encode_request(request, size)
            try:
                self._control.ioctl(command.request, buffer)
            except OSError as error:
                raise _refusal(command, request, error) from error
            answer = parse_answer(buffer)
            if Flag.BUFFER_FULL not in answer.flags:
                return answer
        raise KernelError(f"device-mapper {command.name} of {request.name}: the answer is too long")


def _parse_number(number: str) -> int:
    major, minor = map(int, number.split(":"))
    return os.makedev(major, minor)


def _device(answer: Answer) -> DmDevice:
    return DmDevice(
        name=answer.name,
        uuid=answer.uuid,
        number=answer.number,
        open_count=answer.open_count,
        event_number=answer.event_number,
        suspended=Flag.SUSPEND in answer.flags,
        has_table=Flag.ACTIVE in answer.flags,
        loaded=Flag.INACTIVE in answer.flags,
    )


def _refusal(command: Command, request: Request, error: OSError) -> Exception:
    what = f"device-mapper {command.name.lower()} of {request.name}: {error.strerror}"
    if error.errno == errno.ENXIO:
        return NotFound(what)
    if error.errno == errno.EBUSY and command is Command.REMOVE:
        return FailedPrecondition(f"{what}: it is open")
    return KernelError(what)
