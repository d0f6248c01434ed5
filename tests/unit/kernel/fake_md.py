"""md's attributes as drivers/md/md.c of 6.12 treats them, as far as we write them; all else is refused."""

from pathlib import Path

from replication.errors import TimedOut
from replication.layout import BITMAP_OFFSET_BYTES, BITMAP_SPACE_BYTES
from tests.unit.kernel.fake_tree import EBUSY, EEXIST, EINVAL, FakeTree, refuse_with

_NEW_ARRAY = "/sys/module/md_mod/parameters/new_array"


class FakeMd(FakeTree):
    """Arrays that start, hold their first write, lose and take back members. Recovery ends when told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lay({_NEW_ARRAY: ""})
        self.path("/sys/block").mkdir(parents=True)
        self._flags: dict[str, set[str]] = {}
        self.set_bits: list[str] = []
        self._sizes: dict[str, int] = {}  # KiB
        self.busy_removals = 0  # how many more times `remove` is refused
        self.open = False
        self.busy: set[str] = set()  # attributes that a running resync keeps from being written
        self.written: list[tuple[str, str]] = []
        self._unneeded: dict[str, set[int]] = {}  # chunks that were marked on a disk when an array started
        self.stuck: set[str] = set()  # values of suspend_hi for which md waits too long

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        array, _, attribute = name.removeprefix("/sys/block/").partition("/md/")
        if attribute in self.busy:
            refuse_with(EBUSY, f"write {attribute}")
        super().write(name, value, secret=secret)
        text = str(value)
        self.written.append((name, text))
        if name == _NEW_ARRAY:
            self._new(text)
            return
        self._act(f"/sys/block/{array}/md", attribute, text)

    def write_in_time(self, path: str, value: str, timeout: float) -> None:
        """As kernel/apart.py, in this very process."""
        if value in self.stuck:
            raise TimedOut(f"write {value} to {path}: not within {timeout:g} s")
        self.write(f"/{Path(path).relative_to(self.path('/'))}", value)

    def _new(self, name: str) -> None:
        if self.exists(f"/sys/block/{name}"):
            refuse_with(EEXIST, f"new_array {name}")
        base = f"/sys/block/{name}/md"
        attributes = {
            "array_state": "clear", "metadata_version": "none", "level": "", "raid_disks": "0",
            "component_size": "0", "resync_start": "0", "new_dev": "", "safe_mode_delay": "0.201",
            "bitmap/metadata": "internal", "bitmap/time_base": "5.0000", "bitmap/chunksize": "0",
            "bitmap/space": "0", "bitmap/location": "none", "sync_speed_max": "200000 (system)",
            "suspend_hi": "0",
        }  # fmt: skip
        self.lay({f"{base}/{key}": text for key, text in attributes.items()})
        self.put(f"/sys/block/{name}/stat", " ".join(17 * ["0"]))

    def _act(self, base: str, attribute: str, value: str) -> None:
        if attribute.startswith("dev-"):
            member, _, word = attribute.partition("/")
            self._act_on_member(base, f"{base}/{member}", word, value)
            return
        known = {
            "array_state": self._array_state, "new_dev": self._new_dev, "sync_action": self._sync_action,
            "resync_start": self._resync_start, "bitmap_set_bits": self._set_bits,
            "component_size": self._component_size, "raid_disks": self._raid_disks,
        }  # fmt: skip
        plain = ("metadata_version", "level", "safe_mode_delay", "sync_speed_max", "suspend_hi")
        if attribute in known:
            known[attribute](base, value)
        elif attribute not in plain and not attribute.startswith("bitmap/"):
            refuse_with(EINVAL, f"write {value} to {attribute}")

    def _running(self, base: str) -> bool:
        return self.exists(f"{base}/sync_action")

    def _array_state(self, base: str, value: str) -> None:
        if value == "clear":
            self._clear(base)
        elif value in ("readonly", "active") and not self._running(base):
            self._start(base)
        elif value == "active" and self._running(base):
            blocked = [m for m in self._members(base) if "blocked" in self.read(f"{m}/state")]
            self.put(f"{base}/array_state", "write-pending" if blocked else "active")
        else:
            refuse_with(EINVAL, f"array_state {value}")

    def _clear(self, base: str) -> None:
        if self.open:
            self.put(f"{base}/array_state", "active")
            refuse_with(EBUSY, "clear")
        self._flush_bits(base)
        for path in sorted(self.path(base).parent.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.path(base).parent.rmdir()

    def _start(self, base: str) -> None:
        slots = [self.read(f"{member}/slot") for member in self._members(base)]
        wanted = {"metadata_version": "external:trilith", "level": "raid1", "bitmap/metadata": "external"}
        if any(self.read(f"{base}/{key}") != value for key, value in wanted.items()) or "none" in slots:
            refuse_with(EINVAL, "start")
        if self.read(f"{base}/bitmap/chunksize") == "0" or self.read(f"{base}/component_size") == "0":
            refuse_with(EINVAL, "start without a bitmap's chunk or a size")
        missing = int(self.read(f"{base}/raid_disks")) - len(slots)
        self.lay(
            {
                f"{base}/sync_action": "idle", f"{base}/degraded": str(missing),
                f"{base}/sync_completed": "none", f"{base}/sync_speed": "none",
                f"{base}/mismatch_cnt": "0", f"{base}/bitmap_set_bits": "",
                f"{base}/bitmap/can_clear": "true",
            }
        )  # fmt: skip
        if len(slots) == 1:
            self.put(f"{base}/resync_start", "none")
        if self.read(f"{base}/resync_start") == "none":  # else it needs what is marked (md_bitmap_load)
            self._unneeded[base] = self._read_bits(self._members(base)[0])

    def _area(self, member: str) -> Path:
        return self.path(f"/dev/{member.rpartition('/dev-')[2]}")

    def _read_bits(self, member: str) -> set[int]:
        area = self._area(member).read_bytes()[BITMAP_OFFSET_BYTES:][:BITMAP_SPACE_BYTES].rstrip(b"\0")
        return {8 * place + bit for place, byte in enumerate(area) for bit in range(8) if byte >> bit & 1}

    def _flush_bits(self, base: str) -> None:
        """Whoever stops an array clears all bits that it does not need, on every member (md_bitmap_flush)."""
        chunks = self._unneeded.pop(base, set())
        if self.find(f"{base}/bitmap/can_clear") == "true":
            for member in self._members(base):
                self._clear_bits(self._area(member), chunks)

    def _clear_bits(self, area: Path, chunks: set[int]) -> None:
        with area.open("r+b") as file:
            for chunk in chunks:
                place = BITMAP_OFFSET_BYTES + chunk // 8
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte & ~(1 << chunk % 8)]))

    def _new_dev(self, base: str, value: str) -> None:
        kname = self.link_name(f"/sys/dev/block/{value}")
        if self.exists(f"{base}/dev-{kname}"):
            refuse_with(EBUSY, f"new_dev {value}")
        words = {"state": "spare", "slot": "none", "errors": "0", "size": "0", "offset": "0"}
        self.lay({f"{base}/dev-{kname}/{key}": text for key, text in words.items()})

    def _sync_action(self, base: str, value: str) -> None:
        if value == "recover":
            waiting = [m for m in self._members(base) if self.read(f"{m}/state").startswith("spare")]
            self.put(f"{base}/sync_action", "recover" if waiting else "idle")
        elif value not in ("frozen", "idle", "check", "repair"):
            refuse_with(EINVAL, f"sync_action {value}")

    def _resync_start(self, base: str, _: str) -> None:
        if self._running(base) and self.read(f"{base}/sync_action") != "frozen":
            refuse_with(EBUSY, "resync_start")

    def _set_bits(self, base: str, value: str) -> None:
        self.set_bits.append(value)
        for text in value.split():
            first, _, last = text.partition("-")
            self._unneeded.get(base, set()).difference_update(range(int(first), int(last or first) + 1))
        if value and self.read(f"{base}/resync_start") == "none":  # md takes set bits for a resync owed
            self.put(f"{base}/resync_start", "128")

    def _raid_disks(self, base: str, _: str) -> None:
        self._require_no_writes(base)

    def _require_no_writes(self, base: str) -> None:
        """md itself does not mind, and comes to harm."""
        assert not self._running(base) or self.read(f"{base}/suspend_hi") != "0"

    def _component_size(self, base: str, value: str) -> None:
        self._require_no_writes(base)
        if any(int(self.read(f"{member}/size")) < int(value) for member in self._members(base)):
            refuse_with(28, "component_size")
        old, self._sizes[base] = self._sizes.get(base, 0), int(value)
        if self._running(base) and old < int(value):
            self.put(f"{base}/resync_start", str(2 * old))

    def _members(self, base: str) -> list[str]:
        return [f"{base}/{name}" for name in self.names(base) if name.startswith("dev-")]

    def _act_on_member(self, base: str, member: str, word: str, value: str) -> None:
        if word == "slot":
            self._slot(base, member, value)
        elif word == "state":
            flags = self._flags.setdefault(member, {"spare"})
            self._state(base, member, value, flags)
            if self.exists(member):
                self.put(f"{member}/state", ",".join(sorted(flags)))

    def _slot(self, base: str, member: str, value: str) -> None:
        flags = self._flags.setdefault(member, {"spare"})
        if self._running(base):
            if self.read(f"{base}/sync_action") != "frozen":
                self.put(f"{member}/slot", "none")
                refuse_with(EBUSY, f"slot {value}")
            flags.discard("in_sync")
            flags.add("spare")
        else:
            flags -= {"write_mostly", "spare"}
            flags.add("in_sync")
        self.put(f"{member}/state", ",".join(sorted(flags)))

    def _state(self, base: str, member: str, value: str, flags: set[str]) -> None:
        if value == "writemostly":
            flags.add("write_mostly")
        elif value == "-writemostly":
            flags.discard("write_mostly")
        elif value == "-blocked":
            flags.discard("blocked")
        elif value == "insync":
            flags.add("in_sync")
        elif value == "faulty":
            self._fail(base, flags)
        elif value == "remove":
            self._remove(base, member, flags)
        else:
            refuse_with(EINVAL, f"state {value}")

    def _fail(self, base: str, flags: set[str]) -> None:
        if "faulty" not in flags:
            flags -= {"in_sync", "spare"}
            flags |= {"faulty", "blocked"}
            self.put(f"{base}/array_state", "write-pending")
            self.put(f"{base}/degraded", str(int(self.read(f"{base}/degraded")) + 1))

    def _find_slot(self, base: str, member: str) -> str:
        """Its own, else one that is free."""
        there = {self.read(f"{each}/slot") for each in self._members(base)}
        free = [n for n in map(str, range(int(self.read(f"{base}/raid_disks")))) if n not in there]
        return self.read(f"{member}/slot") if self.read(f"{member}/slot") != "none" else [*free, "none"][0]

    def _remove(self, base: str, member: str, flags: set[str]) -> None:
        """One that has not failed stays, or gets a slot (remove_and_add_spares, raid1_remove_disk)."""
        if self._running(base) and "faulty" not in flags and self._find_slot(base, member) != "none":
            self.put(f"{member}/slot", self._find_slot(base, member))
            refuse_with(EBUSY, "remove")
        if self.busy_removals or ("in_sync" in flags and self.read(f"{member}/slot") != "none"):
            self.busy_removals = max(0, self.busy_removals - 1)
            self.put(f"{member}/state", ",".join(sorted(flags)))
            refuse_with(EBUSY, "remove")
        for path in self.path(member).iterdir():
            path.unlink()
        self.path(member).rmdir()
        del self._flags[member]
