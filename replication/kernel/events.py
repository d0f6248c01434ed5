"""Kernel events: uevents over netlink. Attributes are waited for with `sysfs.wait_changed`.

A plain socket instead of pyroute2: it is 30 lines, and this lies on the path that must import nothing.
Uevents reach the network namespace of the machine only, so the agent runs in that.
"""

import errno
import select
import socket
from dataclasses import dataclass
from typing import Self

from replication.kernel.sysfs import refuse

_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1
_BUFFER_BYTES = 1 << 20
_LONGEST = 16384


@dataclass(frozen=True, slots=True)
class Uevent:
    """What the kernel says happened to a device."""

    action: str  # add, remove, change, online, offline, move
    path: str  # below /sys
    values: tuple[tuple[str, str], ...]

    def get(self, key: str) -> str:
        """`DEVNAME`, `SUBSYSTEM`, `NVME_EVENT`, `DM_ACTION`, …; "" when it is not said."""
        return dict(self.values).get(key, "")


def parse_uevent(message: bytes) -> Uevent | None:
    """`ACTION@PATH`, then `KEY=VALUE`, each ended by a zero byte. None for what is not the kernel's."""
    head, *lines = message.rstrip(b"\0").decode(errors="replace").split("\0")
    action, separator, path = head.partition("@")
    if not separator:
        return None
    pairs = [line.partition("=") for line in lines if "=" in line]
    return Uevent(action, path, tuple((key, value) for key, _, value in pairs))


class Uevents:
    """The stream of uevents from the moment it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_KOBJECT_UEVENT)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((0, _KERNEL_GROUP))

    def fileno(self) -> int:
        """To be polled together with other descriptors."""
        return self._socket.fileno()

    def read(self) -> tuple[tuple[Uevent, ...], bool]:
        """What has come, without waiting; and whether some were lost: then look at everything anew."""
        found: list[Uevent] = []
        while True:
            try:
                message, (sender, _) = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return tuple(found), False
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return tuple(found), True
                refuse("read uevents", error)
            event = parse_uevent(message) if sender == 0 else None  # 0: the kernel, nobody else
            if event is not None:
                found.append(event)

    def wait(self, timeout: float) -> tuple[tuple[Uevent, ...], bool]:
        """Like `read`, after waiting `timeout` seconds for the first."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.poll(timeout * 1000)
        return self.read()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
