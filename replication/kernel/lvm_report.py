"""LVM's JSON reports (`--reportformat json --units b --nosuffix`), parsed; pure."""

import json
from dataclasses import dataclass

from replication.errors import KernelError

VOLUME_GROUP_FIELDS = (
    "vg_name",
    "vg_uuid",
    "vg_size",
    "vg_free",
    "vg_extent_size",
    "vg_tags",
    "lv_count",
    "pv_name",
)
PHYSICAL_VOLUME_FIELDS = ("pv_name", "vg_name")
LOGICAL_VOLUME_FIELDS = (
    "vg_name",
    "lv_name",
    "lv_size",
    "lv_tags",
    "lv_active",
    "lv_kernel_major",
    "lv_kernel_minor",
)


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """One disk of ours."""

    name: str
    uuid: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int
    tags: frozenset[str]
    logical_volumes: int
    disks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A replica's place."""

    group: str
    name: str
    size_bytes: int
    tags: frozenset[str]
    active: bool
    number: str  # MAJOR:MINOR of its device; "" while it is not active

    @property
    def path(self) -> str:
        """LVM's own node, which is no link where there is no udev. Prefer `number`."""
        return f"/dev/{self.group}/{self.name}"


def parse_volume_groups(text: str) -> tuple[VolumeGroup, ...]:
    """One row per physical volume comes in, one value per group goes out."""
    rows = _rows(text, "vg")
    disks: dict[str, list[str]] = {}
    for row in rows:
        disks.setdefault(row["vg_uuid"], []).append(row["pv_name"])
    first = {row["vg_uuid"]: row for row in reversed(rows)}
    return tuple(
        VolumeGroup(
            name=row["vg_name"],
            uuid=uuid,
            size_bytes=int(row["vg_size"]),
            free_bytes=int(row["vg_free"]),
            extent_bytes=int(row["vg_extent_size"]),
            tags=parse_tags(row["vg_tags"]),
            logical_volumes=int(row["lv_count"]),
            disks=tuple(disks[uuid]),
        )
        for uuid, row in sorted(first.items(), key=lambda item: item[1]["vg_name"])
    )


def parse_logical_volumes(text: str) -> tuple[LogicalVolume, ...]:
    return tuple(
        LogicalVolume(
            group=row["vg_name"],
            name=row["lv_name"],
            size_bytes=int(row["lv_size"]),
            tags=parse_tags(row["lv_tags"]),
            active=row["lv_active"] == "active",
            number=_number(row["lv_kernel_major"], row["lv_kernel_minor"]),
        )
        for row in _rows(text, "lv")
    )


def parse_labelled_disks(text: str) -> tuple[str, ...]:
    """Physical volumes that are in no volume group."""
    return tuple(row["pv_name"] for row in _rows(text, "pv") if not row["vg_name"])


def parse_tags(text: str) -> frozenset[str]:
    return frozenset(tag for tag in text.split(",") if tag)


def _number(major: str, minor: str) -> str:
    """LVM says -1 while a volume is not active."""
    return "" if major.startswith("-") else f"{major}:{minor}"


def _rows(text: str, kind: str) -> list[dict[str, str]]:
    try:
        report = json.loads(text)
        return [row for each in report["report"] for row in each.get(kind, [])]
    except (ValueError, KeyError, TypeError) as error:
        raise KernelError(f"LVM's report is not understood: {text[:200]!r}") from error
