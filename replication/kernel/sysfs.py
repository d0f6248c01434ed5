"""Attributes of sysfs and configfs: read, written with one write(2), waited for with poll(2)."""

import errno
import os
import select
import stat
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn, Self

from replication.errors import FailedPrecondition, KernelError, NotFound

_GONE = (errno.ENOENT, errno.ENODEV)
_MOST = 65536  # bytes of one read; an attribute has a page at most, what is no attribute may have more


class Tree:
    """A file system tree whose files are attributes: the machine's own, or a test's directory.

    Names are absolute ("/sys/block/md_x/md/level"). Every method raises NotFound when the attribute or the
    device behind it is not (or no longer) there, and KernelError for any other refusal; `errno_of` gives the
    number behind either.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._prefix = str(root).rstrip("/")

    def path(self, name: str) -> Path:
        """Where `name` lies in the file system that this process sees."""
        return self._root / name.lstrip("/")

    def _at(self, name: str) -> str:
        """The same as a string, which is quicker: agents read thousands a second."""
        return f"{self._prefix}/{name.lstrip('/')}"

    def read(self, name: str) -> str:
        """The text of an attribute without white space around it."""
        try:
            return _read(self._at(name), whole=not name.startswith("/sys/")).decode(errors="replace").strip()
        except OSError as error:
            refuse(f"read {name}", error)

    def find(self, name: str) -> str | None:
        """Like `read`, but None when it is not there."""
        try:
            return self.read(name)
        except NotFound:
            return None

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        """All in one system call. A `secret` is in no message."""
        shown = "a secret" if secret else repr(str(value))
        try:
            descriptor = os.open(self.path(name), os.O_WRONLY | os.O_TRUNC)
        except OSError as error:
            refuse(f"open {name} to write {shown}", error)
        try:
            os.write(descriptor, str(value).encode())
        except OSError as error:
            refuse(f"write {shown} to {name}", error)
        finally:
            os.close(descriptor)

    def names(self, name: str) -> tuple[str, ...]:
        """Sorted names in a directory; none when it does not exist."""
        try:
            with os.scandir(self._at(name)) as entries:
                return tuple(sorted(entry.name for entry in entries))
        except FileNotFoundError:
            return ()
        except OSError as error:
            refuse(f"list {name}", error)

    def exists(self, name: str) -> bool:
        return os.path.lexists(self._at(name))

    def make_directory(self, name: str) -> None:
        """Repeatable."""
        try:
            self.path(name).mkdir(exist_ok=True)
        except OSError as error:
            refuse(f"make the directory {name}", error)

    def remove_directory(self, name: str) -> None:
        """Repeatable. In configfs this removes the object with its attributes."""
        try:
            self.path(name).rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            refuse(f"remove the directory {name}", error)

    def link(self, name: str, target: str) -> None:
        """Repeatable. Make `name` a symbolic link to the tree's `target`."""
        try:
            self.path(name).symlink_to(self.path(target))
        except FileExistsError:
            return
        except OSError as error:
            refuse(f"link {name} to {target}", error)

    def unlink(self, name: str) -> None:
        """Repeatable."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            refuse(f"unlink {name}", error)

    def link_name(self, name: str) -> str:
        """The last component of what the symbolic link `name` points to."""
        try:
            return self.path(name).readlink().name
        except OSError as error:
            refuse(f"read the link {name}", error)

    def device_number(self, name: str) -> str:
        """`MAJOR:MINOR` of a block device's node. FailedPrecondition when `name` is something else."""
        try:
            status = self.path(name).stat()
        except OSError as error:
            refuse(f"look at {name}", error)
        if not stat.S_ISBLK(status.st_mode):
            raise FailedPrecondition(f"{name} is not a block device")
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"


class Attribute:
    """An attribute held open, to be read and waited for again and again without opening it anew.

    The kernel tells of a change only after the attribute has been read once through this descriptor.
    """

    def __init__(self, tree: Tree, name: str) -> None:
        self.name = name
        try:
            self._descriptor = os.open(tree.path(name), os.O_RDONLY)
        except OSError as error:
            refuse(f"open {name}", error)

    def read(self) -> str:
        try:
            return os.pread(self._descriptor, 4096, 0).decode(errors="replace").strip()
        except OSError as error:
            refuse(f"read {self.name}", error)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Held:
    """Attributes that are read again and again, each held open. For one thread."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._open: dict[str, Attribute] = {}

    def find(self, name: str) -> str | None:
        """None when it cannot be read. What a new device of the same name says is found at the next call."""
        try:
            if name not in self._open:
                self._open[name] = Attribute(self._tree, name)
            return self._open[name].read()
        except (NotFound, KernelError):
            self._close(name)
            return None

    def keep(self, names: Collection[str]) -> None:
        """Let go of all others."""
        for name in self._open.keys() - names:
            self._close(name)

    def _close(self, name: str) -> None:
        attribute = self._open.pop(name, None)
        if attribute is not None:
            attribute.close()


def _read(path: str, *, whole: bool) -> bytes:
    """`whole`: until its end. An attribute is all in the first answer, and may be another text by the second.

    Source: fs/kernfs/file.c, sysfs_kf_read: what is shown anew is given from where the last answer ended.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _MOST)]
        while whole and parts[-1]:
            parts.append(os.read(descriptor, _MOST))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def wait_changed(attributes: Sequence[Attribute], timeout: float) -> tuple[Attribute, ...]:
    """Those of `attributes` that have changed since they were last read; none after `timeout` seconds.

    Source: Documentation/admin-guide/md.rst and sysfs_notify: POLLPRI and POLLERR, then read again.
    """
    poll = select.poll()
    by_descriptor = {attribute.fileno(): attribute for attribute in attributes}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLPRI | select.POLLERR)
    return tuple(by_descriptor[descriptor] for descriptor, _ in poll.poll(timeout * 1000))


def errno_of(error: BaseException) -> int:
    """The error number that made the kernel's refusal, or 0 when there was none."""
    cause = error.__cause__
    return cause.errno or 0 if isinstance(cause, OSError) else 0


def refuse(action: str, error: OSError) -> NoReturn:
    """Raise what `error` means: NotFound for a thing that is gone, else KernelError."""
    kind = NotFound if error.errno in _GONE else KernelError
    raise kind(f"{action}: {error.strerror}") from error
