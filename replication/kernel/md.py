"""md raid1 with external metadata, by sysfs: what is known about members lives in the record, not on them.

Starting takes two steps. `assemble` leaves the array read-only with its bitmap filled; `activate` lets writes
in. The order of writes, and why, is in docs: data plane; source: Documentation/admin-guide/md.rst and
drivers/md/md.c.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from replication.clock import Clock, SystemClock, wait_until
from replication.errors import FailedPrecondition, KernelError, NotFound, TrilithError
from replication.kernel import blockdev
from replication.kernel.bitmap import Ranges, format_set_bits
from replication.kernel.md_state import (
    METADATA,
    PREFIX,
    ArrayState,
    array_path,
    device_of,
    find_array,
    member_path,
    read_array,
)
from replication.kernel.sysfs import Tree, errno_of
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES, DATA_OFFSET_BYTES

_NEW_ARRAY = "/sys/module/md_mod/parameters/new_array"
_ASLEEP_SECONDS = 3600  # md's daemon clears no bit while we are between the two steps
_GONE_TIMEOUT = 5.0
_ALL_SECTORS = (1 << 63) - 1
_KEEP_TIMEOUT = 4.0  # seconds; who falls silent is lost after three, and dropped if the record allows it

WriteInTime = Callable[[str, str, float], None]
"""Path, value, seconds; TimedOut, and nothing written, after these: `kernel.apart.Apart.write`."""


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A member to be. `device` is a node's path or `MAJOR:MINOR` of its hold layer."""

    device: str
    slot: int
    write_mostly: bool = False


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An array to start from members that are all in sync.

    Slots: while a resync is owed, md reads from the lowest slot and makes the others equal to it. The
    slot of a member that comes back later is agent/rejoin.py's to choose.
    """

    name: str
    raid_disks: int
    component_size_bytes: int
    bitmap_chunk_bytes: int
    members: tuple[MemberSpec, ...]
    resync: bool  # owed: of all that the bitmap marks
    set_bits: Ranges = field(default=(), repr=False)  # the union of every member's bitmap


def assemble(tree: Tree, spec: ArraySpec, clock: Clock | None = None) -> str:
    """Build and start it read-only, frozen, every bit of `set_bits` set. Returns the path of its device.

    Repeatable: an array that runs already is compared with `spec`, FailedPrecondition says what differs. One
    that was left half built is built anew.
    """
    found = find_array(tree, spec.name)
    if found is not None and found.running:
        _check(tree, found, spec)
        return device_of(spec.name)
    if found is not None:
        stop(tree, spec.name, clock)
    try:
        _build(tree, spec)
    except TrilithError:
        stop(tree, spec.name, clock)
        raise
    return device_of(spec.name)


def _build(tree: Tree, spec: ArraySpec) -> None:
    base = array_path(spec.name)
    tree.write(_NEW_ARRAY, PREFIX + spec.name)
    tree.write(f"{base}/metadata_version", METADATA)
    tree.write(f"{base}/level", "raid1")
    tree.write(f"{base}/raid_disks", spec.raid_disks)
    for member in spec.members:
        _add(tree, spec.name, member, spec.component_size_bytes)
    tree.write(f"{base}/component_size", spec.component_size_bytes // 1024)
    tree.write(f"{base}/resync_start", "0" if spec.resync else "none")
    _configure_bitmap(tree, base, spec.bitmap_chunk_bytes)
    tree.write(f"{base}/safe_mode_delay", 0)
    tree.write(f"{base}/array_state", "readonly")
    tree.write(f"{base}/sync_action", "frozen")
    _set_bits(tree, base, spec)


def _add(tree: Tree, name: str, member: MemberSpec, size_bytes: int) -> None:
    path = introduce_member(tree, name, member, size_bytes)
    tree.write(f"{path}/slot", member.slot)
    if member.write_mostly:
        tree.write(f"{path}/state", "writemostly")  # after the slot, which clears it


def introduce_member(tree: Tree, name: str, member: MemberSpec, size_bytes: int) -> str:
    """Give md the device, without a slot. Returns the member's attributes' directory."""
    kname = blockdev.kernel_name(tree, member.device)
    _check_fits(tree, kname, size_bytes)
    tree.write(f"{array_path(name)}/new_dev", blockdev.number(tree, kname))
    path = member_path(name, kname.replace("/", "!"))
    tree.write(f"{path}/offset", DATA_OFFSET_BYTES // blockdev.SECTOR_BYTES)
    tree.write(f"{path}/size", size_bytes // 1024)
    return path


def _check_fits(tree: Tree, kname: str, size_bytes: int) -> None:
    """With external metadata md takes any size, even past the end of the device."""
    there = blockdev.size_bytes(tree, kname)
    if there < DATA_OFFSET_BYTES + size_bytes:
        raise FailedPrecondition(f"{kname} has {there} bytes, too few for {size_bytes} bytes of data")


def _configure_bitmap(tree: Tree, base: str, chunk_bytes: int) -> None:
    """`space`, or else a growing array doubles its chunk without a word."""
    tree.write(f"{base}/bitmap/metadata", "external")
    tree.write(f"{base}/bitmap/time_base", _ASLEEP_SECONDS)
    tree.write(f"{base}/bitmap/chunksize", chunk_bytes)
    tree.write(f"{base}/bitmap/space", BITMAP_SPACE_BYTES // blockdev.SECTOR_BYTES)
    tree.write(f"{base}/bitmap/location", f"+{BITMAP_OFFSET_BYTES // blockdev.SECTOR_BYTES}")


def _set_bits(tree: Tree, base: str, spec: ArraySpec) -> None:
    """Set bits are taken for a resync owed (md_bitmap_dirty_bits), so say again when none is."""
    for text in format_set_bits(spec.set_bits):
        tree.write(f"{base}/bitmap_set_bits", text)
    if not spec.resync:
        tree.write(f"{base}/resync_start", "none")


def _check(tree: Tree, found: ArrayState, spec: ArraySpec) -> None:
    names = {blockdev.kernel_name(tree, member.device): member.slot for member in spec.members}
    there = {member.kname: member.slot for member in found.members}
    asked = (spec.raid_disks, spec.component_size_bytes, spec.bitmap_chunk_bytes, names)
    actual = (found.raid_disks, found.component_size_bytes, found.bitmap_chunk_bytes, there)
    if asked != actual:
        raise FailedPrecondition(
            f"array {spec.name} runs with (disks, size, chunk, members) {actual}, asked for is {asked}"
        )


def activate(tree: Tree, name: str, *, time_base_seconds: int = 5) -> None:
    """Let writes and the resync that may be owed begin. Repeatable.

    The first write after it waits in `write-pending` until somebody calls `acknowledge_writes`.
    """
    base = array_path(name)
    tree.write(f"{base}/bitmap/time_base", time_base_seconds)
    tree.write(f"{base}/array_state", "active")
    if tree.read(f"{base}/sync_action") == "frozen":
        tree.write(f"{base}/sync_action", "idle")


def acknowledge_writes(tree: Tree, name: str) -> None:
    """Let writes that wait in `write-pending` go. Only after looking at every member: see md_members."""
    tree.write(f"{array_path(name)}/array_state", "active")


def stop(tree: Tree, name: str, clock: Clock | None = None) -> None:
    """Repeatable. FailedPrecondition while it is open or holds a write. Returns when the device is gone."""
    _keep_bits(tree, name)
    try:
        _write_if_there(tree, f"{array_path(name)}/array_state", "clear")
    except KernelError as error:
        if errno_of(error) == errno.EBUSY:
            raise FailedPrecondition(f"array {name} is in use, or a write waits in it") from error
        raise
    wait_until(
        lambda: not tree.exists(array_path(name)),
        f"the device of array {name} to go",
        timeout=_GONE_TIMEOUT,
        clock=clock or SystemClock(),
    )


def _keep_bits(tree: Tree, name: str) -> None:
    """On the disks of an array that was assembled, perhaps by half, and not activated.

    Whoever stops an array clears all bits that no resync needs (md_bitmap_flush), and those that are found on
    the disks, in an array that owes none, are such until we have set them again (md_bitmap_load).
    """
    base = array_path(name)
    if tree.find(f"{base}/array_state") == "readonly":
        with suppress(NotFound):  # it has no bitmap
            tree.write(f"{base}/bitmap/can_clear", "false")


def _write_if_there(tree: Tree, name: str, value: str) -> None:
    if tree.exists(name):
        tree.write(name, value)


def grow(tree: Tree, name: str, component_size_bytes: int, write_in_time: WriteInTime) -> None:
    """Every member's device has grown already. Repeatable. md resyncs the new part; what is below goes on.

    md marks the new part in memory only (__bitmap_resize), and in an array that was written to before, no
    write to it marks it on the disks: whoever has the array next would not know what a member missed. So we
    set the bits before anybody can write there, in an array that is frozen until then. If we die before, a
    repeat, or `let_writes_go_on`, finds it frozen, and the resync owed.

    FailedPrecondition while a member's device is too small, or another resync or recovery runs. TimedOut when
    writes under way do not end: then nothing has changed.
    """
    state = read_array(tree, name)
    if state.component_size_bytes != component_size_bytes:
        _enlarge(tree, state, component_size_bytes, write_in_time)
        tree.write(f"{array_path(name)}/sync_action", "idle")
    else:
        thaw(tree, name)


def _enlarge(tree: Tree, state: ArrayState, component_size_bytes: int, write_in_time: WriteInTime) -> None:
    """The array is frozen afterwards, unless it has not grown."""
    if state.sync_action not in {"idle", "frozen"}:
        raise FailedPrecondition(f"array {state.name} is resyncing or recovering")
    for member in state.members:
        _check_fits(tree, member.kname, component_size_bytes)
    for member in state.members:
        tree.write(f"{member_path(state.name, member.kname)}/size", component_size_bytes // 1024)
    tree.write(f"{array_path(state.name)}/sync_action", "frozen")
    try:
        with _without_writes(tree, state.name, write_in_time):
            _write_unless_syncing(tree, state.name, "component_size", component_size_bytes // 1024)
    except TrilithError:
        if read_array(tree, state.name).component_size_bytes != component_size_bytes:
            tree.write(f"{array_path(state.name)}/sync_action", "idle")
        raise


def thaw(tree: Tree, name: str) -> None:
    """Let the resync begin that is owed by an array which somebody left frozen, and died. Repeatable."""
    if read_array(tree, name).sync_action == "frozen":
        _mark_owed(tree, name)
        tree.write(f"{array_path(name)}/sync_action", "idle")


def _mark_owed(tree: Tree, name: str) -> None:
    """Set the bits of all that md owes a resync of."""
    state = read_array(tree, name)
    if state.resync_start is None:
        return
    first = state.resync_start * blockdev.SECTOR_BYTES // state.bitmap_chunk_bytes
    last = -(-state.component_size_bytes // state.bitmap_chunk_bytes) - 1
    for text in format_set_bits(((first, last),)):
        tree.write(f"{array_path(name)}/bitmap_set_bits", text)


def _write_unless_syncing(tree: Tree, name: str, attribute: str, value: str | int) -> None:
    try:
        tree.write(f"{array_path(name)}/{attribute}", value)
    except KernelError as error:
        if errno_of(error) == errno.EBUSY:
            raise FailedPrecondition(f"array {name} is resyncing or recovering") from error
        raise


def limit_sync_speed(tree: Tree, name: str, bytes_per_second: int | None) -> None:
    """Bound resync and recovery; None: the system's own bounds (200 MB/s, unless somebody changed them)."""
    value = "system" if bytes_per_second is None else max(1, bytes_per_second // 1024)
    base = array_path(name)
    tree.write(f"{base}/sync_speed_max", value)


def read_sync_limit(tree: Tree, name: str) -> int:
    """Bytes a second; md says `200000 (system)` or `1 (local)`."""
    return int(tree.read(f"{array_path(name)}/sync_speed_max").split()[0]) * 1024


def set_slots(tree: Tree, name: str, count: int, write_in_time: WriteInTime) -> None:
    """Room for `count` members, after writes under way. Members keep their order, not their slots.

    FailedPrecondition while another sync runs, or more members are in it (raid1_reshape). TimedOut when
    writes under way do not end: then nothing has changed.
    """
    with _without_writes(tree, name, write_in_time):
        _write_unless_syncing(tree, name, "raid_disks", count)


def are_writes_kept(tree: Tree, name: str) -> bool:
    """Who kept them waiting, in `grow` or `set_slots`, has died, or could not let them go."""
    return tree.read(f"{array_path(name)}/suspend_hi") != "0"


def let_writes_go_on(tree: Tree, name: str, write_in_time: WriteInTime) -> None:
    """What has grown is marked first: nobody may write to it before. Repeatable.

    md waits for what is under way, also for reads that a lost member keeps: TimedOut.
    """
    if read_array(tree, name).sync_action == "frozen":
        _mark_owed(tree, name)
    _keep_writes(tree, name, 0, write_in_time)


@contextmanager
def _without_writes(tree: Tree, name: str, write_in_time: WriteInTime) -> Iterator[None]:
    """None is under way inside, not even one that has failed and waits to be told so; new ones wait.

    md does not wait for such before it changes what they count on (freeze_array in raid1.c leaves out what
    is queued), and with external metadata they are queued until we have released the member that failed.
    When a size changes they count the new bitmap's counters down from zero, and whoever writes there next
    waits for ever (bitmap_startwrite); when the number of members does, they free more than they have
    ("md: suspend array while updating raid_disks via sysfs").
    """
    _keep_writes(tree, name, _ALL_SECTORS, write_in_time)
    try:
        yield
    finally:
        let_writes_go_on(tree, name, write_in_time)


def _keep_writes(tree: Tree, name: str, below_sector: int, write_in_time: WriteInTime) -> None:
    """Until md has seen the end of all that is under way, nothing new begins, reads neither (mddev_suspend).

    A member that is lost may keep a write for long. A signal ends the wait for it, and md goes on as before.
    """
    write_in_time(str(tree.path(f"{array_path(name)}/suspend_hi")), str(below_sector), _KEEP_TIMEOUT)


def start_repair(tree: Tree, name: str) -> None:
    """As `start_check`, and make the others equal to the first member where they differ (process_checks)."""
    _write_unless_syncing(tree, name, "sync_action", "repair")


def start_check(tree: Tree, name: str) -> None:
    """Compare all members; `ArrayState.mismatches` counts what differs.

    FailedPrecondition while another sync runs.
    """
    _write_unless_syncing(tree, name, "sync_action", "check")
