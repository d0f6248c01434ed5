"""A question to one controller of the fabric alone, and how long the answer to it is on its connection.

Asked for is the firmware log: nvmet fills it with zeroes, as much as is asked for, whatever its disks do
(nvmet_execute_get_log_page in drivers/nvme/target/admin-cmd.c). Structures: linux/nvme_ioctl.h, nvme-tcp.h.
"""

import ctypes
import fcntl
import os
import struct
from typing import Protocol

from replication.errors import KernelError
from replication.kernel.sysfs import refuse

_COMMAND = struct.Struct("=BBHIIIQQII6III")  # struct nvme_passthru_cmd
_IOCTL_ADMIN_CMD = 0xC0000000 | _COMMAND.size << 16 | ord("N") << 8 | 0x41
_GET_LOG_PAGE, _FIRMWARE_SLOTS, _ALL_NAMESPACES = 0x02, 0x03, 0xFFFFFFFF
_DATA_HEADER_BYTES, _RESPONSE_BYTES = 24, 24  # struct nvme_tcp_data_pdu, nvme_tcp_rsp_pdu; no digests
LENGTHS = 500


class AdminQueue(Protocol):
    """Of every controller."""

    def ask(self, controller: str, length: int, timeout: float) -> None:
        """Wait for `length` bytes of the log. Raises KernelError, NotFound for one that has gone."""


class AdminQueueNode:
    """The real one, through /dev/nvmeN."""

    def __init__(self, folder: str = "/dev") -> None:
        self._folder = folder

    def ask(self, controller: str, length: int, timeout: float) -> None:
        """What is not answered at `timeout` is given up a second later, and with it the connection."""
        try:
            descriptor = os.open(f"{self._folder}/{controller}", os.O_RDONLY)
            try:
                status = _read_log(descriptor, length, timeout)
            finally:
                os.close(descriptor)
        except OSError as error:
            refuse(f"ask {controller}", error)
        if status:
            raise KernelError(f"ask {controller}: NVMe status {status:#x}")


def _read_log(descriptor: int, length: int, timeout: float) -> int:
    """The status of NVMe: 0 when it was answered."""
    buffer = ctypes.create_string_buffer(length)
    return int(fcntl.ioctl(descriptor, _IOCTL_ADMIN_CMD, encode(ctypes.addressof(buffer), length, timeout)))


def encode(address: int, length: int, timeout: float) -> bytearray:
    """Get Log Page: where to, how many bytes (a multiple of 4), and within how many seconds."""
    head = (_GET_LOG_PAGE, 0, 0, _ALL_NAMESPACES, 0, 0, 0, address, 0, length)
    what = _FIRMWARE_SLOTS | (length // 4 - 1) << 16
    return bytearray(_COMMAND.pack(*head, what, 0, 0, 0, 0, 0, int(timeout * 1000), 0))


def choose_length(number: int) -> int:
    """Of the log. Headers are 24 bytes long, and other data whole sectors: no other answer is as long.

    Nor is that to the question before, or to one of another thread.
    """
    return 4 + 8 * (number % LENGTHS)


def count_answer_bytes(length: int) -> int:
    return _DATA_HEADER_BYTES + length + _RESPONSE_BYTES
