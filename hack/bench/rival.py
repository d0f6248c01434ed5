"""What Trilith is measured against: a bare logical volume, and an mdadm raid1 over the same disks and links.

The raid1 is what somebody would make by hand: internal bitmap, remote members write-mostly, everything else
as mdadm has it; no hold layer, no record, nobody who watches it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from hack.lab.vm import Machine
from replication.kernel.lvm import format_config

_GUEST = [sys.executable, "-I", "-S", str(Path(__file__).with_name("rival_guest.py"))]
_ARRAY = "/dev/md127"
_ENVIRONMENT = "MDADM_NO_UDEV=1"
_SIZE = "320m"


class Links:
    """`with Links(user, targets, name, size)`: a logical volume of each target as a device of the user's.

    Each machine's disk 0 must be a pool's already: the volumes are made in its volume group, and stay.
    """

    def __init__(self, user: Machine, targets: Sequence[Machine], name: str, size: str) -> None:
        self._user = user
        self._targets = targets
        self._name = name
        self._size = size
        self.devices: list[str] = []

    def __enter__(self) -> "Links":
        for machine in self._targets:
            device = make_volume(machine, self._name, self._size)
            machine.succeed([*_GUEST, "export", machine.address, device])
        names = self._user.succeed([*_GUEST, "connect", *self._addresses()]).split()
        self.devices = [f"/dev/{name}" for name in names]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._user.succeed([*_GUEST, "disconnect", *self._addresses()])
        for machine in self._targets:
            machine.succeed([*_GUEST, "withdraw", machine.address])

    def _addresses(self) -> list[str]:
        return [machine.address for machine in self._targets]


class Rival:
    """`with Rival(machines)`: the first machine uses `bare` and `array`, and has the array's local member."""

    array = _ARRAY

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._user, *targets = machines
        self._links = Links(self._user, targets, "bench_member", _SIZE)
        self.bare = ""

    def __enter__(self) -> "Rival":
        self.bare = make_volume(self._user, "bench_bare", _SIZE)
        local = make_volume(self._user, "bench_member", _SIZE)
        self._create(local, self._links.__enter__().devices)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._user.succeed(f"{_ENVIRONMENT} mdadm --stop {_ARRAY}")
        self._links.__exit__(kind, error, trace)

    def _create(self, local: str, remote: list[str]) -> None:
        shape = f"--level=1 --raid-devices={1 + len(remote)} --bitmap=internal --assume-clean"
        members = f"{local} --write-mostly {' '.join(remote)}"
        self._user.succeed(f"{_ENVIRONMENT} mdadm --create {_ARRAY} --run {shape} {members}")


def make_volume(machine: Machine, name: str, size: str) -> str:
    """The path of a new logical volume on the machine's disk, in the volume group that a pool has there."""
    config = format_config([machine.disk_path()])
    report = ["lvm", "vgs", "--config", config, "--noheadings", "-o", "vg_name"]
    group = machine.succeed(report).strip()
    create = ["lvm", "lvcreate", "--config", config, "-Wn", "-Zn", "-y", "-L", size, "-n", name, group]
    machine.succeed(create)
    return f"/dev/{group}/{name}"
