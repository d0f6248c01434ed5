"""LVM as a program: groups and volumes in memory, reports as lvm2 2.03.16 prints them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from replication.errors import CommandFailed
from replication.kernel.run import NOTHING

_EXTENT = 4 << 20


@dataclass
class _Volume:
    size: int
    tags: list[str]
    minor: int
    active: bool = True


@dataclass
class _Group:
    disk: str
    size: int
    tags: list[str]
    volumes: dict[str, _Volume] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.size - sum(volume.size for volume in self.volumes.values())


class FakeLvm:
    """A Runner. It sees those of its disks that the global filter names exactly, and no others.

    `calls` are its commands, `starts` counts how often it was started: a script is one start.
    """

    def __init__(self, disks: dict[str, int]) -> None:
        self.disks = disks
        self.groups: dict[str, _Group] = {}
        self.labels: set[str] = set()  # disks that are physical volumes, in a group or in none
        self.foreign: set[str] = set()  # disks with a signature
        self.open: set[str] = set()
        self.calls: list[tuple[str, ...]] = []
        self.starts = 0
        self._minor = 0
        self._argv: tuple[str, ...] = ()
        self._visible: set[str] = set()

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        assert argv[0] == "lvm"
        self.starts += 1
        config = (Path(environment["LVM_SYSTEM_DIR"]) / "lvm.conf").read_text()
        self._visible = set(re.findall(r'"a\|\^(\S+?)\$\|"', config))
        assert config.count('"r|.*|"') == 1
        if argv[1:] != ("/dev/stdin",):
            return self._command(tuple(argv))
        assert stdin is not None
        first, *lines = stdin.decode().splitlines()
        assert first.startswith("#!")
        return "".join([self._command(("lvm", *line.split(" "))) for line in lines])

    def list_active(self) -> list[tuple[str, str, int, int]]:
        """Group, name, minor number and size of every volume that has a device."""
        found = [
            (group, name, each) for group, home in self.groups.items() for name, each in home.volumes.items()
        ]
        return [(group, name, each.minor, each.size) for group, name, each in found if each.active]

    def _command(self, argv: tuple[str, ...]) -> str:
        self.calls.append(argv)
        words = [word for word in argv[2:] if word not in ("-y", "-Wn", "-Zn", "-ay")]
        self._argv = argv
        return str(getattr(self, f"_{argv[1]}")(words))

    def _fail(self, message: str) -> CommandFailed:
        return CommandFailed(self._argv, 5, message)

    def _group(self, name: str) -> _Group:
        group = self.groups.get(name)
        if group is None or group.disk not in self._visible:
            raise self._fail(f'  Volume group "{name}" not found')
        return group

    def _vgcreate(self, words: list[str]) -> str:
        *options, name, disk = words
        assert options[:2] == ["--setautoactivation", "n"]
        if disk not in self._visible or disk not in self.disks:
            raise self._fail(f"  No device found for {disk}.")
        if disk in self.foreign:
            raise self._fail("  Aborted wiping of ext4.")
        self.labels.add(disk)
        self.groups[name] = _Group(disk, self.disks[disk] // _EXTENT * _EXTENT - _EXTENT, options[3::2])
        return ""

    def _vgremove(self, words: list[str]) -> str:
        if self._group(words[0]).volumes:
            raise self._fail(f'  Volume group "{words[0]}" not removed')
        del self.groups[words[0]]
        return ""

    def _pvremove(self, words: list[str]) -> str:
        assert words[0] in self._visible
        if any(group.disk == words[0] for group in self.groups.values()):
            raise self._fail(f"  PV {words[0]} is used by a VG.")
        self.labels.remove(words[0])
        return ""

    def _lvcreate(self, words: list[str]) -> str:
        options = dict(zip(words[:-1:2], words[1::2], strict=True))
        group = self._group(words[-1])
        tags = [value for key, value in zip(words[:-1:2], words[1::2], strict=True) if key == "--addtag"]
        size = int(options["-L"].removesuffix("b"))
        if size > group.free:
            raise self._fail("  insufficient free space")
        group.volumes[options["-n"]] = _Volume(size, tags, self._minor)
        self._minor += 1
        return ""

    def _volume(self, path: str) -> tuple[_Group, str]:
        name, _, volume = path.partition("/")
        return self._group(name), volume

    def _vgchange(self, words: list[str]) -> str:
        assert words[0] == "--addtag"
        group = self._group(words[2])
        group.tags = sorted({*group.tags, words[1]})
        return ""

    def _lvreduce(self, words: list[str]) -> str:
        assert words[:2] == ["-f", "-L"]
        group, name = self._volume(words[3])
        size = int(words[2].removesuffix("b"))
        if not 0 < size < group.volumes[name].size or size % _EXTENT:
            raise self._fail(f"  {size} is no size to reduce {name} to")
        group.volumes[name].size = size
        return ""

    def _lvrename(self, words: list[str]) -> str:
        group, old, new = self._group(words[0]), words[1], words[2]
        if old not in group.volumes or new in group.volumes:
            raise self._fail(f"  {old} cannot be called {new}")
        group.volumes[new] = group.volumes.pop(old)
        return ""

    def _lvextend(self, words: list[str]) -> str:
        group, name = self._volume(words[2])
        group.volumes[name].size = int(words[1].removesuffix("b"))
        return ""

    def _lvchange(self, words: list[str]) -> str:
        group, name = self._volume(words[0])
        group.volumes[name].active = True
        return ""

    def _lvremove(self, words: list[str]) -> str:
        group, name = self._volume(words[0])
        if name not in group.volumes:
            raise self._fail(f'  Failed to find logical volume "{words[0]}"')
        if name in self.open:
            raise self._fail(f"  Logical volume {words[0]} in use.")
        del group.volumes[name]
        return ""

    def _vgs(self, _: list[str]) -> str:
        rows = [
            {
                "vg_name": name, "vg_uuid": f"uuid-{name}", "vg_size": str(group.size),
                "vg_free": str(group.free), "vg_extent_size": str(_EXTENT), "vg_tags": ",".join(group.tags),
                "lv_count": str(len(group.volumes)), "pv_name": group.disk,
            }
            for name, group in self.groups.items() if group.disk in self._visible
        ]  # fmt: skip
        return json.dumps({"report": [{"vg": rows}]})

    def _pvs(self, _: list[str]) -> str:
        owners = {group.disk: name for name, group in self.groups.items()}
        seen = sorted(self.labels & self._visible)
        rows = [{"pv_name": disk, "vg_name": owners.get(disk, "")} for disk in seen]
        return json.dumps({"report": [{"pv": rows}]})

    def _lvs(self, _: list[str]) -> str:
        rows = [
            {
                "vg_name": name, "lv_name": key, "lv_size": str(volume.size),
                "lv_tags": ",".join(volume.tags),
                "lv_active": "active" if volume.active else "",
                "lv_kernel_major": "254" if volume.active else "-1",
                "lv_kernel_minor": str(volume.minor if volume.active else -1),
            }
            for name, group in self.groups.items() if group.disk in self._visible
            for key, volume in group.volumes.items()
        ]  # fmt: skip
        return json.dumps({"report": [{"lv": rows}]})
