"""LVM: one volume group per disk, one logical volume per replica; works without udev (lvm2 2.03).

What a command of LVM costs is its start, far more than what it does, so several changes are one run of it
(docs: ADR 0011).
"""

import logging
import re
import threading
import zlib
from collections.abc import Container, Sequence
from pathlib import Path

from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfSpace,
    TrilithError,
)
from replication.kernel.lvm_report import (
    LOGICAL_VOLUME_FIELDS,
    PHYSICAL_VOLUME_FIELDS,
    VOLUME_GROUP_FIELDS,
    LogicalVolume,
    VolumeGroup,
    parse_labelled_disks,
    parse_logical_volumes,
    parse_volume_groups,
)
from replication.kernel.run import Runner
from replication.kernel.sysfs import refuse

_log = logging.getLogger(__name__)

_TIMEOUT = 60.0
_FOLDER = Path("/run/trilith/lvm")
_WORD = re.compile(r"[A-Za-z0-9_.+/@=:-]+")  # what a script of LVM takes as it is
_LINE_CHARACTERS = 254  # tools/lvmcmdline.c, _run_script
_DEVICE = re.compile(r"/dev/[A-Za-z0-9_/-]+")  # nothing that a regular expression would understand
_REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix")


Command = tuple[str, ...]
"""Words of one of LVM's commands, without the program."""


def format_config(devices: Sequence[str]) -> str:
    """A whole lvm.conf: no udev, no backups in /etc, and no physical volume other than exactly `devices`.

    `use_aio` is off because the end of each asynchronous context waits for all processors (RCU): 40 ms of the
    57 of a command on a quiet machine. In `--config` it has no effect.
    """
    for device in devices:
        if not _DEVICE.fullmatch(device):
            raise InvalidRequest(f"{device!r} is not a kernel's name of a disk")
    accepted = "".join(f'"a|^{device}$|",' for device in devices)
    return (
        "activation{udev_sync=0 udev_rules=0 monitoring=0 reserved_memory=0 reserved_stack=0}\n"
        f'devices{{use_devicesfile=0 scan_lvs=0 global_filter=[{accepted}"r|.*|"]}}\n'
        "backup{backup=0 archive=0}\n"
        "global{use_aio=0}\n"
    )


def format_script(commands: Sequence[Command]) -> bytes:
    """What `lvm /dev/stdin` reads: it ends with the first command that fails."""
    lines = [" ".join(command) for command in commands]
    for line, command in zip(lines, commands, strict=True):
        if len(line) > _LINE_CHARACTERS or not all(map(_WORD.fullmatch, command)):
            raise InvalidRequest(f"{line!r} is no line for LVM")
    return "".join(f"{line}\n" for line in ("#!lvm", *lines)).encode()


def format_create(group: str, name: str, size_bytes: int, tags: frozenset[str]) -> Command:
    """Of whole extents; active afterwards. It holds whatever the disk held there."""
    marks = [word for tag in sorted(tags) for word in ("--addtag", tag)]
    return ("lvcreate", "-Wn", "-Zn", "-y", "-L", f"{size_bytes}b", *marks, "-n", name, group)


def format_rename(group: str, name: str, new_name: str) -> Command:
    """In one write of LVM's metadata; it stays active."""
    return ("lvrename", group, name, new_name)


def format_reduce(group: str, name: str, size_bytes: int) -> Command:
    """Give the extents behind its first `size_bytes`, a multiple of extents, back. Not repeatable.

    No file system may begin in it: from 2.03.17 on LVM refuses to cut one.
    """
    return ("lvreduce", "-f", "-y", "-L", f"{size_bytes}b", f"{group}/{name}")


def format_add_tag(group: str, tag: str) -> Command:
    return ("vgchange", "--addtag", tag, group)


def format_remove(group: str, name: str) -> Command:
    return ("lvremove", "-y", f"{group}/{name}")


def round_up(size_bytes: int, extent_bytes: int) -> int:
    """The size of a logical volume that was asked to have `size_bytes`."""
    return -(-size_bytes // extent_bytes) * extent_bytes


def check_same(found: LogicalVolume, size_bytes: int, tags: frozenset[str]) -> None:
    """AlreadyExists unless it has this size and at least these tags."""
    if found.size_bytes != size_bytes or not tags <= found.tags:
        raise AlreadyExists(
            f"logical volume {found.group}/{found.name} has {found.size_bytes} bytes and tags "
            f"{sorted(found.tags)}, not {size_bytes} and {sorted(tags)}"
        )


class Lvm:
    """LVM restricted to `devices`: paths as the kernel names them (`/dev/nvme0n1`).

    /etc/lvm is not read. In `folder` is what is read instead, under a name that follows from what it says.
    """

    def __init__(self, runner: Runner, devices: Sequence[str], folder: Path = _FOLDER) -> None:
        self._runner = runner
        self._config = format_config(devices)
        self._folder = folder / f"{zlib.crc32(self._config.encode()):08x}"

    # Volume groups

    def list_volume_groups(self) -> tuple[VolumeGroup, ...]:
        return parse_volume_groups(self._report("vgs", VOLUME_GROUP_FIELDS))

    def find_volume_group(self, name: str) -> VolumeGroup | None:
        return next((group for group in self.list_volume_groups() if group.name == name), None)

    def get_volume_group(self, name: str) -> VolumeGroup:
        group = self.find_volume_group(name)
        if group is None:
            raise NotFound(f"there is no volume group {name} on this node's disks")
        return group

    def ensure_volume_group(self, name: str, disk: str, tags: frozenset[str]) -> VolumeGroup:
        """One on `disk` alone. AlreadyExists when the name is taken by another disk's or other tags.

        Without `-y`: LVM answers its own question about a foreign signature with no, and fails.
        """
        found = self.find_volume_group(name)
        if found is None:
            marks = [word for tag in sorted(tags) for word in ("--addtag", tag)]
            self._lvm("vgcreate", "--setautoactivation", "n", *marks, name, disk)
            return self.get_volume_group(name)
        if found.disks != (disk,) or not tags <= found.tags:
            raise AlreadyExists(
                f"volume group {name} is on {', '.join(found.disks)} with tags {sorted(found.tags)}, "
                f"not on {disk} with {sorted(tags)}"
            )
        return found

    def remove_volume_group(self, name: str) -> None:
        """Repeatable; its disk is empty afterwards. FailedPrecondition while logical volumes are left."""
        found = self.find_volume_group(name)
        if found is None:
            return
        if found.logical_volumes:
            raise FailedPrecondition(f"volume group {name} still has {found.logical_volumes} logical volumes")
        self._lvm("vgremove", name)
        self._lvm("pvremove", *found.disks)

    def remove_label(self, disk: str) -> None:
        """What is left on it of a removal that ended halfway. Nothing to do while it is in a volume group."""
        if disk in parse_labelled_disks(self._report("pvs", PHYSICAL_VOLUME_FIELDS)):
            self._lvm("pvremove", disk)

    def add_tag(self, group: str, tag: str) -> None:
        """Repeatable."""
        self.change((format_add_tag(group, tag),))

    # Logical volumes

    def list_logical_volumes(self) -> tuple[LogicalVolume, ...]:
        return parse_logical_volumes(self._report("lvs", LOGICAL_VOLUME_FIELDS))

    def find_logical_volume(self, group: str, name: str) -> LogicalVolume | None:
        volumes = self.list_logical_volumes()
        return next((each for each in volumes if (each.group, each.name) == (group, name)), None)

    def get_logical_volume(self, group: str, name: str) -> LogicalVolume:
        volume = self.find_logical_volume(group, name)
        if volume is None:
            raise NotFound(f"there is no logical volume {group}/{name} on this node's disks")
        return volume

    def ensure_logical_volume(
        self, group: str, name: str, size_bytes: int, tags: frozenset[str]
    ) -> LogicalVolume:
        """An active one of `size_bytes`, rounded up to whole extents. It holds whatever the disk held there.

        OutOfSpace when it does not fit; AlreadyExists when there is one with another size or without the
        tags.
        """
        home = self.get_volume_group(group)
        found = self.find_logical_volume(group, name)
        if found is None:
            self.create_logical_volume(home, name, size_bytes, tags)
        else:
            check_same(found, round_up(size_bytes, home.extent_bytes), tags)
        return self.activate(group, name)

    def create_logical_volume(
        self, home: VolumeGroup, name: str, size_bytes: int, tags: frozenset[str]
    ) -> None:
        """An active one, which must not exist yet. OutOfSpace by what `home` says, so that must be true now.

        For a caller that knows what there is: every command takes LVM long.
        """
        asked = round_up(size_bytes, home.extent_bytes)
        self._check_room(home, asked)
        self.change((format_create(home.name, name, asked, tags),))

    def extend(self, group: str, name: str, size_bytes: int) -> LogicalVolume:
        """At least `size_bytes` afterwards; never smaller. Repeatable."""
        home = self.get_volume_group(group)
        found = self.get_logical_volume(group, name)
        asked = round_up(size_bytes, home.extent_bytes)
        if found.size_bytes >= asked:
            return found
        self._check_room(home, asked - found.size_bytes)
        self._lvm("lvextend", "-y", "-L", f"{asked}b", f"{group}/{name}")
        return self.get_logical_volume(group, name)

    def activate(self, group: str, name: str) -> LogicalVolume:
        """Repeatable. Its device is there afterwards, see `LogicalVolume.number`."""
        found = self.get_logical_volume(group, name)
        if found.active:
            return found
        self._lvm("lvchange", "-ay", f"{group}/{name}")
        return self.get_logical_volume(group, name)

    def activate_all(self, keys: Container[tuple[str, str]]) -> dict[str, TrilithError]:
        """Those of `keys`, a group and a name each. By group the first error: the rest of it is left then.

        A disk that hangs, or whatever else is wrong with it, must not keep the others from being used.
        """
        errors = dict[str, TrilithError]()
        for found in self.list_logical_volumes():
            if (found.group, found.name) in keys and found.group not in errors and not found.active:
                try:
                    self.activate(found.group, found.name)
                except TrilithError as error:
                    errors[found.group] = error
        return errors

    def remove_logical_volume(self, group: str, name: str) -> None:
        """Repeatable. FailedPrecondition while something has it open."""
        try:
            self.change((format_remove(group, name),))
        except CommandFailed as error:
            if "Failed to find logical volume" not in error.stderr:
                raise

    def change(self, commands: Sequence[Command]) -> None:
        """One after the other, in one run of LVM; none after the first that fails.

        CommandFailed does not say which one that was. FailedPrecondition: a volume is open.
        """
        for command in commands:
            _log.debug("%s", " ".join(command))
        try:
            if len(commands) == 1:
                self._lvm(*commands[0])
            elif commands:
                self._lvm("/dev/stdin", stdin=format_script(commands))
        except CommandFailed as error:
            if "in use" in error.stderr or "is used by" in error.stderr:
                raise FailedPrecondition(f"a logical volume is in use: {error.stderr.strip()}") from error
            raise

    def _check_room(self, group: VolumeGroup, wanted_bytes: int) -> None:
        if wanted_bytes > group.free_bytes:
            raise OutOfSpace(
                f"volume group {group.name} on {', '.join(group.disks)} has {group.free_bytes} bytes free, "
                f"{wanted_bytes} are wanted"
            )

    def _report(self, command: str, fields: Sequence[str]) -> str:
        return self._lvm(command, *_REPORT, "-o", ",".join(fields))

    def _lvm(self, *words: str, stdin: bytes | None = None) -> str:
        self._ensure_config()
        ours = {"LVM_SYSTEM_DIR": str(self._folder)}
        return self._runner(("lvm", *words), timeout=_TIMEOUT, stdin=stdin, environment=ours)

    def _ensure_config(self) -> None:
        """Written whole or not at all; somebody may clear /run under us."""
        path = self._folder / "lvm.conf"
        try:
            if not path.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                partial = self._folder / f"lvm.conf.{threading.get_ident()}"
                partial.write_text(self._config)
                partial.replace(path)
        except OSError as error:
            refuse(f"write {path}", error)
