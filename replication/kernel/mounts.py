"""Mounts: read from mountinfo, made and verified through mount(8) and umount(8)."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replication.errors import AlreadyExists, CommandFailed, FailedPrecondition, KernelError
from replication.kernel.filesystem import needs_hands
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree, refuse

_MOUNTINFO = "/proc/self/mountinfo"
_TIMEOUT = 60.0
_ESCAPE = re.compile(r"\\([0-7]{3})")
_DEEPEST = 16  # mounts on top of each other
_VISIBLE = frozenset({"nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "sync", "dirsync"})
"""Flags that mountinfo shows under the name by which they are asked for, and only then."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    number: str  # MAJOR:MINOR
    root: str  # the directory or file of the file system that is seen here
    path: str
    options: tuple[str, ...]
    kind: str
    source: str
    super_options: tuple[str, ...]

    @property
    def readonly(self) -> bool:
        return "ro" in self.options or "ro" in self.super_options


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """In the kernel's order: of several on one path the last is the one that is seen."""
    return tuple(_parse_line(line) for line in text.splitlines() if line)


def _parse_line(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    _, _, number, root, path, options, *_ = before.split(" ")
    kind, source, super_options, *_ = after.split(" ")
    return Mount(
        number=number,
        root=_unescape(root),
        path=_unescape(path),
        options=tuple(options.split(",")),
        kind=kind,
        source=_unescape(source),
        super_options=tuple(super_options.split(",")),
    )


def _unescape(text: str) -> str:
    """`\\040` is a space."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


class Mounts:
    """The mounts of this process's namespace."""

    def __init__(self, runner: Runner, tree: Tree) -> None:
        self._runner = runner
        self._tree = tree

    def list_mounts(self) -> tuple[Mount, ...]:
        return parse_mountinfo(self._tree.read(_MOUNTINFO))

    def find(self, path: str) -> Mount | None:
        """The one that is seen at `path`."""
        return next((mount for mount in reversed(self.list_mounts()) if mount.path == path), None)

    def resolve(self, path: str) -> str:
        """`path` as mountinfo names it: without symbolic links above its last component."""
        base, parent = self._tree.path("/").resolve(), self._tree.path(str(Path(path).parent)).resolve()
        return str("/" / parent.relative_to(base) / Path(path).name)

    def _seen_at(self, path: str) -> tuple[str, str]:
        """Which file system is seen at `path`, and what of it; without touching it, since it may hang."""
        above = {str(each) for each in (Path(path), *Path(path).parents)}
        covering = [mount for mount in self.list_mounts() if mount.path in above]
        deepest = max(len(mount.path) for mount in covering)
        mount = next(each for each in reversed(covering) if len(each.path) == deepest)
        below = Path(path).relative_to(mount.path)
        return mount.number, str(Path(mount.root) / below)

    def is_mount_point(self, path: str) -> bool:
        return self.find(path) is not None

    def list_of_device(self, number: str) -> tuple[Mount, ...]:
        """Every mount of the file system on the device `MAJOR:MINOR`."""
        return tuple(mount for mount in self.list_mounts() if mount.number == number)

    def list_of_node(self, device: str) -> tuple[Mount, ...]:
        """Every bind mount of the device node `/dev/…` itself."""
        return tuple(
            mount
            for mount in self.list_mounts()
            if mount.kind == "devtmpfs" and f"/dev{mount.root}" == device
        )

    def ensure_mounted(self, device: str, path: str, kind: str, options: tuple[str, ...] = ()) -> None:
        """Mount `device` at `path`, a directory that is made if need be.

        Repeatable. AlreadyExists when something else is mounted there, or with other flags; DataLoss when the
        file system has to be repaired by hand. Flags are in no message: they may be sensitive.
        """
        self._remove_stale(device, path)
        found = self.find(path)
        if found is not None:
            _check_same(found, self._tree.device_number(device), options)
            return
        self._make_directory(path)
        chosen = ("-o", ",".join(options)) if options else ()
        with _explained(device, path, kind, options):
            self._runner(("mount", "-t", kind, *chosen, device, path), timeout=_TIMEOUT)

    def ensure_bound(self, source: str, path: str, *, readonly: bool = False) -> None:
        """Show the directory, file or device node `source` at `path` too, which is made if need be.

        Repeatable. AlreadyExists as for `ensure_mounted`. A device node that is bound read-only can be
        written all the same: the flag only says what was asked for.
        """
        self._remove_deleted(path)
        found = self.find(path)
        if found is None:
            self._make_point(source, path)
            readonly_flag = ("-o", "ro") if readonly else ()
            self._runner(("mount", "--bind", *readonly_flag, source, path), timeout=_TIMEOUT)
        elif self._seen_at(source) != (found.number, found.root):
            raise AlreadyExists(f"{path} shows {found.source}{found.root}, not {source}")
        elif readonly != ("ro" in found.options):
            has, wanted = ("writable", "read-only") if readonly else ("read-only", "writable")
            raise AlreadyExists(f"{path} is bound {has}, asked for is {wanted}")

    def remove(self, path: str, *, lazily: bool = False) -> None:
        """Unmount everything at `path` and remove the empty directory or file. Repeatable.

        `lazily`: detach it now, let go when nobody uses it any more. FailedPrecondition while it is in use.
        """
        self.unmount(path, lazily=lazily)
        self._remove_point(path)

    def unmount(self, path: str, *, lazily: bool = False) -> None:
        """Like `remove`, but leave the directory or file."""
        for _ in range(_DEEPEST):
            if self.find(path) is None:
                return
            self._unmount(path, lazily=lazily)

    def _unmount(self, path: str, *, lazily: bool) -> None:
        argv = ("umount", "-l", path) if lazily else ("umount", path)
        try:
            self._runner(argv, timeout=_TIMEOUT)
        except CommandFailed as error:
            if "busy" in error.stderr:
                raise FailedPrecondition(f"{path} is in use") from error
            raise

    def _remove_stale(self, device: str, path: str) -> None:
        """A mount of a device of this name that is gone: the array was ended under it and assembled anew."""
        for _ in range(_DEEPEST):
            found = self.find(path)
            if found is None or found.source != device or found.number == self._tree.device_number(device):
                return
            self._unmount(path, lazily=True)

    def _remove_deleted(self, path: str) -> None:
        """A bind mount of a device node whose device is gone, as mountinfo calls it."""
        for _ in range(_DEEPEST):
            found = self.find(path)
            if found is None or not found.root.endswith("//deleted"):
                return
            self._unmount(path, lazily=True)

    def _make_directory(self, path: str) -> None:
        with _refused(f"make the directory {path}"):
            try:
                self._tree.path(path).mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise FailedPrecondition(f"{path} is not a directory") from None

    def _make_point(self, source: str, path: str) -> None:
        point = self._tree.path(path)
        if self._tree.path(source).is_dir():
            self._make_directory(path)
            return
        if point.is_dir():
            raise FailedPrecondition(f"{path} is a directory, and a device is to be shown there")
        self._make_directory(str(Path(path).parent))
        with _refused(f"make the file {path}"):
            point.touch(exist_ok=True)

    def _remove_point(self, path: str) -> None:
        """Nothing that holds somebody's data: only what was made for a mount."""
        point = self._tree.path(path)
        with _refused(f"remove {path}"):
            if point.is_dir() and not point.is_symlink():
                if any(point.iterdir()):
                    raise FailedPrecondition(f"{path} is not mounted and not empty: look at what is in it")
                point.rmdir()
            elif point.is_file() and point.stat().st_size:
                raise FailedPrecondition(f"{path} is a file with something in it, not a mount of ours")
            else:
                point.unlink(missing_ok=True)


def _check_same(found: Mount, number: str, options: tuple[str, ...]) -> None:
    if found.number != number:
        raise AlreadyExists(f"{found.path} has {found.source} mounted ({found.number}), not {number}")
    if found.readonly != ("ro" in options):
        raise AlreadyExists(f"{found.path} is mounted {'read-only' if found.readonly else 'writable'}")
    if _VISIBLE & {*found.options, *found.super_options} != _VISIBLE & set(options):
        raise AlreadyExists(f"{found.path} is mounted with other flags than those asked for")


@contextmanager
def _refused(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        refuse(action, error)


@contextmanager
def _explained(device: str, path: str, kind: str, options: tuple[str, ...]) -> Iterator[None]:
    """What mount(8) says, without the flags; "needs cleaning" is EUCLEAN, a damaged file system."""
    try:
        yield
    except CommandFailed as error:
        said = error.stderr.strip() or "no message"
        for flag in sorted(options, key=len, reverse=True):
            said = said.replace(flag, "[flag]").replace(flag.partition("=")[0], "[flag]")
        what = f"mount {device} at {path}: exit status {error.status}: {said}"
        if "needs cleaning" in said:
            raise needs_hands(device, kind, what) from None
        raise KernelError(what) from None
