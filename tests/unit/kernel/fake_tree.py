"""A tree of attributes in a directory, with device nodes that need no root to exist."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from replication.errors import NotFound
from replication.kernel.sysfs import Tree, refuse


class FakeTree(Tree):
    """Files in `root`; an attribute must have been laid down before it can be written, as in sysfs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.numbers: dict[str, str] = {}

    def lay(self, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            self.path(name).write_text(f"{value}\n" if value else "")

    def put(self, name: str, value: str) -> None:
        """What the kernel would change by itself."""
        self.path(name).write_text(f"{value}\n")

    def add_block_device(self, kname: str, number: str, size_bytes: int, **attributes: str) -> None:
        self.lay(
            {
                f"/sys/class/block/{kname}/dev": number,
                f"/sys/class/block/{kname}/size": str(size_bytes // 512),
                f"/sys/class/block/{kname}/queue/write_cache": "write through",
                f"/sys/class/block/{kname}/inflight": "       0        0",
                f"/dev/{kname}": "",
                **{f"/sys/class/block/{kname}/{key}": value for key, value in attributes.items()},
            }
        )
        self.path("/sys/dev/block").mkdir(parents=True, exist_ok=True)
        self.path(f"/sys/dev/block/{number}").symlink_to(f"../../devices/virtual/block/{kname}")
        self.numbers[f"/dev/{kname}"] = number

    def device_number(self, name: str) -> str:
        if name not in self.numbers:
            raise NotFound(f"{name}: no such device")
        return self.numbers[name]


def refuse_with(number: int, what: str) -> NoReturn:
    """As the kernel refuses a write."""
    refuse(what, OSError(number, os.strerror(number)))


EBUSY, EINVAL, EEXIST = errno.EBUSY, errno.EINVAL, errno.EEXIST
