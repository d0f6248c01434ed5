"""/dev/mapper/control as the kernel's dm-ioctl.c answers it, for multipath and linear targets."""

import errno
import os
import struct
import threading
from dataclasses import dataclass, field

from replication.kernel.dm_wire import Command, Flag, Target, encode_targets

_HEADER = struct.Struct("=3I3Ii3IQ128s129s7x")
_SPEC = struct.Struct("=QQiI16s")
_MAJOR = 253


@dataclass
class FakeDmDevice:
    minor: int
    uuid: str
    targets: list[Target] = field(default_factory=list)
    loaded: list[Target] = field(default_factory=list)
    suspended: bool = True
    event: int = 0
    opened: int = 0
    active: bool = True
    queueing: bool = True
    saved: bool = False  # MPATHF_SAVED_QUEUE_IF_NO_PATH
    failures: int = 0


class FakeControl:
    """Behaves for what we send; anything malformed is EINVAL."""

    def __init__(self) -> None:
        self.devices: dict[str, FakeDmDevice] = {}
        self.messages: list[tuple[str, str]] = []
        self.refuse_load = False
        self._next = 0
        self._read, self._write = os.pipe()
        self._lock = threading.Lock()

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        return self._read

    def ioctl(self, request: int, buffer: bytearray) -> None:
        with self._lock:
            self._ioctl(request, buffer)

    def _ioctl(self, request: int, buffer: bytearray) -> None:
        assert request & ~0xFF == 0xC138FD00
        fields = _HEADER.unpack_from(buffer)
        if fields[0] != 4 or fields[3] != len(buffer) or fields[4] != _HEADER.size:
            raise OSError(errno.EINVAL, "Invalid argument")
        self._fields = fields
        self._data = bytes(buffer[fields[4] :])
        command = Command(request & 0xFF)
        name = fields[11].split(b"\0")[0].decode() or self._name_of(fields[10])
        uuid = fields[12].split(b"\0")[0].decode()
        answer, count = getattr(self, f"_{command.name.lower()}")(name, uuid, Flag(fields[7]))
        self._reply(buffer, name, answer, count)

    def _name_of(self, number: int) -> str:
        known = {os.makedev(_MAJOR, device.minor): name for name, device in self.devices.items()}
        return known.get(number, "")

    def _reply(self, buffer: bytearray, name: str, data: bytes, count: int) -> None:
        device = self.devices.get(name)
        flags, opened, event, number, uuid = Flag.NONE, 0, 0, 0, b""
        if device is not None:
            flags |= Flag.SUSPEND if device.suspended else Flag.NONE
            flags |= Flag.ACTIVE if device.targets else Flag.NONE
            flags |= Flag.INACTIVE if device.loaded else Flag.NONE
            opened, event, uuid = device.opened, device.event, device.uuid.encode()
            number = os.makedev(_MAJOR, device.minor)
        size = _HEADER.size + len(data)
        if size > len(buffer):
            size, data, flags = _HEADER.size, b"", flags | Flag.BUFFER_FULL
        _HEADER.pack_into(
            buffer,
            0,
            4,
            48,
            0,
            size,
            _HEADER.size,
            count,
            opened,
            flags,
            event,
            0,
            number,
            name.encode(),
            uuid,
        )
        buffer[_HEADER.size : size] = data

    def _get(self, name: str) -> FakeDmDevice:
        if name not in self.devices:
            raise OSError(errno.ENXIO, "No such device or address")
        return self.devices[name]

    def _create(self, name: str, uuid: str, _: Flag) -> tuple[bytes, int]:
        if name in self.devices:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.devices[name] = FakeDmDevice(self._next, uuid)
        self._next += 1
        return b"", 0

    def _remove(self, name: str, *_: object) -> tuple[bytes, int]:
        if self._get(name).opened:
            raise OSError(errno.EBUSY, "Device or resource busy")
        del self.devices[name]
        return b"", 0

    def _suspend(self, name: str, _: str, flags: Flag) -> tuple[bytes, int]:
        device = self._get(name)
        device.suspended = Flag.SUSPEND in flags
        if device.suspended:
            assert Flag.NOFLUSH in flags, "what is held would never be flushed"
            self.presuspend(name)
        elif device.loaded:
            device.targets, device.loaded = device.loaded, []
            device.active, device.queueing, device.failures = True, True, 0
        else:
            device.queueing = device.queueing or device.saved
        return b"", 0

    def presuspend(self, name: str) -> None:
        """All that becomes of a suspend whose wait for requests a signal ends: nobody undoes it."""
        device = self.devices[name]
        device.saved, device.queueing = device.queueing, False

    def _status(self, name: str, *_: object) -> tuple[bytes, int]:
        return b"", len(self._get(name).targets)

    def _load(self, name: str, *_: object) -> tuple[bytes, int]:
        device = self._get(name)
        if self.refuse_load:
            raise OSError(errno.EINVAL, "Invalid argument")
        device.loaded = []  # another one that is loaded takes its place (table_load in dm-ioctl.c)
        offset = 0
        for _target in range(self._fields[5]):
            start, sectors, _status, following, kind = _SPEC.unpack_from(self._data, offset)
            text = self._data[offset + _SPEC.size :].split(b"\0")[0].decode()
            device.loaded.append(Target(start, sectors, kind.split(b"\0")[0].decode(), text))
            offset += following
        return b"", 0

    def _table(self, name: str, _: str, flags: Flag) -> tuple[bytes, int]:
        device = self._get(name)
        lines = b""
        for target in device.targets:
            text = self._describe(device, target, table=Flag.STATUS_TABLE in flags)
            line = encode_targets((Target(target.start, target.sectors, target.kind, text),))
            lines += line[:20] + struct.pack("=I", len(lines) + len(line)) + line[24:]
        return lines, len(device.targets)

    def _describe(self, device: FakeDmDevice, target: Target, *, table: bool) -> str:
        if target.kind != "multipath":
            return target.parameters if table else ""
        path = target.parameters.split()[-2]
        if table:
            features = "queue_if_no_path " if device.queueing else ""
            features += "retain_attached_hw_handler queue_mode bio"
            return f"{len(features.split())} {features} 0 1 1 service-time 0 1 2 {path} 1 1 "
        state = "A" if device.active else "F"
        return f"2 1 0 0 1 1 E 0 1 2 {path} {state} {device.failures} 0 1 "

    def _list(self, *_: object) -> tuple[bytes, int]:
        entries = []
        for name, device in self.devices.items():
            head = struct.pack("=QI", os.makedev(_MAJOR, device.minor), 0) + name.encode() + b"\0"
            head = head.ljust(-(-len(head) // 8) * 8, b"\0") + struct.pack("=II", device.event, 1)
            head += device.uuid.encode() + b"\0"
            entries.append(head.ljust(-(-len(head) // 8) * 8, b"\0"))
        data = b"".join(
            entry[:8] + struct.pack("=I", 0 if entry is entries[-1] else len(entry)) + entry[12:]
            for entry in entries
        )
        return data or bytes(16), 0

    def _dependencies(self, name: str, *_: object) -> tuple[bytes, int]:
        major, minor = map(int, self._get(name).targets[0].parameters.split()[-2].split(":"))
        return struct.pack("=IIQ", 1, 0, os.makedev(major, minor)), 0

    def _message(self, name: str, *_: object) -> tuple[bytes, int]:
        device = self._get(name)
        text = self._data[8:].split(b"\0")[0].decode()
        self.messages.append((name, text))
        if device.suspended:
            raise OSError(errno.EBUSY, "Device or resource busy")
        if text in ("fail_if_no_path", "queue_if_no_path"):
            device.queueing = text.startswith("queue")
        elif text.startswith(("fail_path ", "reinstate_path ")):
            self.set_path(name, active=text.startswith("reinstate"))
        else:
            raise OSError(errno.EINVAL, "Invalid argument")
        return b"", 0

    def _arm_poll(self, *_: object) -> tuple[bytes, int]:
        return b"", 0

    def set_path(self, name: str, *, active: bool) -> None:
        device = self.devices[name]
        device.failures += device.active and not active
        device.active = active
        device.event += 1
        os.write(self._write, b"x")
