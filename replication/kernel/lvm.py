"""LVM: one volume group per disk, one logical volume per replica; works without udev (lvm2 2.03)."""

import re
from collections.abc import Sequence

from replication.errors import (
    AlreadyExists,
    CommandFailed,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfSpace,
)
from replication.kernel.lvm_report import (
    LOGICAL_VOLUME_FIELDS,
    VOLUME_GROUP_FIELDS,
    LogicalVolume,
    VolumeGroup,
    parse_logical_volumes,
    parse_volume_groups,
)
from replication.kernel.run import Runner

_TIMEOUT = 60.0
_DEVICE = re.compile(r"/dev/[A-Za-z0-9_/-]+")  # nothing that a regular expression would understand
_REPORT = ("--reportformat", "json", "--units", "b", "--nosuffix")


def format_config(devices: Sequence[str]) -> str:
    """LVM's `--config`: no udev, no backups in /etc, and no physical volume other than exactly `devices`."""
    for device in devices:
        if not _DEVICE.fullmatch(device):
            raise InvalidRequest(f"{device!r} is not a kernel's name of a disk")
    accepted = "".join(f'"a|^{device}$|",' for device in devices)
    return (
        "activation{udev_sync=0 udev_rules=0} "
        f'devices{{use_devicesfile=0 scan_lvs=0 global_filter=[{accepted}"r|.*|"]}} '
        "backup{backup=0 archive=0}"
    )


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
    """LVM restricted to `devices`: paths as the kernel names them (`/dev/nvme0n1`)."""

    def __init__(self, runner: Runner, devices: Sequence[str]) -> None:
        self._runner = runner
        self._config = format_config(devices)

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

    def add_tag(self, group: str, tag: str) -> None:
        """Repeatable."""
        self._lvm("vgchange", "--addtag", tag, group)

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
        marks = [word for tag in sorted(tags) for word in ("--addtag", tag)]
        self._lvm("lvcreate", "-Wn", "-Zn", "-y", "-L", f"{asked}b", *marks, "-n", name, home.name)

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

    def reduce(self, group: str, name: str, size_bytes: int) -> None:
        """Give the extents behind its first `size_bytes`, a multiple of extents, back. Not repeatable.

        No file system may begin in it: from 2.03.17 on LVM refuses to cut one.
        """
        self._lvm("lvreduce", "-f", "-y", "-L", f"{size_bytes}b", f"{group}/{name}")

    def rename(self, group: str, name: str, new_name: str) -> None:
        """In one write of LVM's metadata; it stays active."""
        self._lvm("lvrename", group, name, new_name)

    def activate(self, group: str, name: str) -> LogicalVolume:
        """Repeatable. Its device is there afterwards, see `LogicalVolume.number`."""
        found = self.get_logical_volume(group, name)
        if found.active:
            return found
        self._lvm("lvchange", "-ay", f"{group}/{name}")
        return self.get_logical_volume(group, name)

    def remove_logical_volume(self, group: str, name: str) -> None:
        """Repeatable. FailedPrecondition while something has it open."""
        try:
            self._lvm("lvremove", "-y", f"{group}/{name}")
        except CommandFailed as error:
            if "in use" in error.stderr or "is used by" in error.stderr:
                raise FailedPrecondition(f"logical volume {group}/{name} is in use") from error
            if "Failed to find logical volume" not in error.stderr:
                raise

    def _check_room(self, group: VolumeGroup, wanted_bytes: int) -> None:
        if wanted_bytes > group.free_bytes:
            raise OutOfSpace(
                f"volume group {group.name} on {', '.join(group.disks)} has {group.free_bytes} bytes free, "
                f"{wanted_bytes} are wanted"
            )

    def _report(self, command: str, fields: Sequence[str]) -> str:
        return self._lvm(command, *_REPORT, "-o", ",".join(fields))

    def _lvm(self, command: str, *arguments: str) -> str:
        return self._runner(("lvm", command, "--config", self._config, *arguments), timeout=_TIMEOUT)
