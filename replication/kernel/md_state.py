"""What md says of an array of ours: read from sysfs and parsed, nothing is changed here."""

from dataclasses import dataclass

from replication.errors import NotFound
from replication.kernel.blockdev import SECTOR_BYTES
from replication.kernel.sysfs import Tree

METADATA = "external:trilith"
PREFIX = "md_"
SCRUBS = ("check", "repair")
SYNCS = ("resync", "recover", *SCRUBS)
_BLOCK = "/sys/block"


@dataclass(frozen=True, slots=True)
class MemberState:
    """A member as md sees it. `flags` are md's own words.

    in_sync is not the end of a recovery: md says it between `insync` and `slot` as well. Ask
    `ArrayState.sync_action`, `degraded` and the record.
    """

    kname: str
    flags: frozenset[str]
    slot: int | None
    errors: int
    size_bytes: int

    @property
    def in_sync(self) -> bool:
        return "in_sync" in self.flags

    @property
    def faulty(self) -> bool:
        return "faulty" in self.flags

    @property
    def serving(self) -> bool:
        """Whether it alone could keep the array going."""
        return self.in_sync and not self.faulty and self.slot is not None

    @property
    def blocked(self) -> bool:
        """Writes wait until it is said that the failure has been recorded."""
        return "blocked" in self.flags

    @property
    def write_mostly(self) -> bool:
        return "write_mostly" in self.flags


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a resync or recovery."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ArrayState:
    """An array as md sees it."""

    name: str
    array_state: (
        str  # clear, inactive, readonly, read-auto, clean, active, write-pending, active-idle, broken
    )
    raid_disks: int
    degraded: int
    sync_action: str  # idle, frozen, resync, recover, check, repair
    progress: Progress | None
    speed_bytes_per_second: int
    resync_start: int | None  # sector from which a resync is owed; None: none is
    component_size_bytes: int
    bitmap_chunk_bytes: int
    mismatches: int  # sectors that the last check found different
    members: tuple[MemberState, ...]

    @property
    def running(self) -> bool:
        return self.array_state not in ("clear", "inactive")

    @property
    def activated(self) -> bool:
        """Whether somebody may have written to it: it is more than assembled."""
        return self.running and self.array_state != "readonly"

    @property
    def writable(self) -> bool:
        return self.array_state in ("clean", "active", "write-pending", "active-idle")

    @property
    def write_pending(self) -> bool:
        """A write waits until `active` is written."""
        return self.array_state == "write-pending"

    @property
    def is_scrubbed(self) -> bool:
        return self.sync_action in SCRUBS

    @property
    def resync_owed(self) -> bool:
        return self.resync_start is not None

    def find_member(self, kname: str) -> MemberState | None:
        return next((member for member in self.members if member.kname == kname), None)


def array_path(name: str) -> str:
    """The attributes' directory of the array called `name`."""
    return f"{_BLOCK}/{PREFIX}{name}/md"


def stat_path(name: str) -> str:
    """What users have done with the array: Documentation/block/stat.rst."""
    return f"{_BLOCK}/{PREFIX}{name}/stat"


def member_path(name: str, kname: str) -> str:
    return f"{_BLOCK}/{PREFIX}{name}/md/dev-{kname}"


def device_of(name: str) -> str:
    """The node that devtmpfs makes for the array."""
    return f"/dev/{PREFIX}{name}"


def find_array(tree: Tree, name: str) -> ArrayState | None:
    try:
        return read_array(tree, name)
    except NotFound:
        return None


def read_array(tree: Tree, name: str) -> ArrayState:
    """NotFound when there is no array of this name."""
    base = array_path(name)
    return ArrayState(
        name=name,
        array_state=tree.read(f"{base}/array_state"),
        raid_disks=parse_raid_disks(tree.read(f"{base}/raid_disks")),
        degraded=int(tree.find(f"{base}/degraded") or 0),
        sync_action=tree.find(f"{base}/sync_action") or "idle",
        progress=parse_progress(tree.find(f"{base}/sync_completed") or "none"),
        speed_bytes_per_second=parse_speed(tree.find(f"{base}/sync_speed") or "none"),
        resync_start=parse_resync_start(tree.read(f"{base}/resync_start")),
        component_size_bytes=int(tree.read(f"{base}/component_size")) * 1024,
        bitmap_chunk_bytes=int(tree.find(f"{base}/bitmap/chunksize") or 0),
        mismatches=int(tree.find(f"{base}/mismatch_cnt") or 0),
        members=read_members(tree, name),
    )


def read_members(tree: Tree, name: str) -> tuple[MemberState, ...]:
    """All members, those without a slot last."""
    entries = [entry for entry in tree.names(array_path(name)) if entry.startswith("dev-")]
    found = [find_member(tree, name, entry.removeprefix("dev-")) for entry in entries]
    members = [member for member in found if member is not None]
    return tuple(sorted(members, key=lambda member: (member.slot is None, member.slot or 0, member.kname)))


def find_member(tree: Tree, name: str, kname: str) -> MemberState | None:
    base = member_path(name, kname)
    try:
        return MemberState(
            kname=kname,
            flags=parse_flags(tree.read(f"{base}/state")),
            slot=parse_slot(tree.read(f"{base}/slot")),
            errors=int(tree.read(f"{base}/errors")),
            size_bytes=int(tree.read(f"{base}/size")) * 1024,
        )
    except NotFound:
        return None


def list_arrays(tree: Tree) -> tuple[str, ...]:
    """Names of all arrays that are ours by their metadata."""
    names = [entry.removeprefix(PREFIX) for entry in tree.names(_BLOCK) if entry.startswith(PREFIX)]
    return tuple(name for name in names if tree.find(f"{array_path(name)}/metadata_version") == METADATA)


def parse_raid_disks(text: str) -> int:
    """`3`, or `3 (2)` while it is being changed, or nothing while the array is being built or taken apart."""
    return int(text.split(maxsplit=1)[0]) if text else 0


def parse_flags(text: str) -> frozenset[str]:
    """`faulty,blocked` or `in_sync,write_mostly`."""
    return frozenset(word for word in text.split(",") if word)


def parse_slot(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def parse_resync_start(text: str) -> int | None:
    """`none`, or a sector."""
    return None if text == "none" else int(text)


def parse_progress(text: str) -> Progress | None:
    """`none`, `delayed`, or `DONE / TOTAL` in sectors."""
    words = text.split(" / ")
    if len(words) != 2:
        return None
    return Progress(int(words[0]) * SECTOR_BYTES, int(words[1]) * SECTOR_BYTES)


def parse_speed(text: str) -> int:
    """`none`, or KiB a second."""
    return int(text) * 1024 if text.isdigit() else 0
