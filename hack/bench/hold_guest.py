"""Inside a machine: the same array once for every form of the hold layer, for hold.py to measure.

    python -I -S hold_guest.py target ADDRESS
    python -I -S hold_guest.py consumer ADDRESS ADDRESS

The consumer prints {"form": "/dev/…"}. Standard library only.
"""

import json
import os
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from replication.clock import SystemClock, wait_until
from replication.kernel import blockdev, md, modules
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.md_state import read_array
from replication.kernel.nvme import Connection, NvmeHost
from replication.kernel.nvmet import Export, Nvmet
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.layout import DATA_OFFSET_BYTES

DATA_BYTES = 64 << 20
_REPLICA_BYTES = DATA_OFFSET_BYTES + DATA_BYTES
_HOST_NQN = "nqn.2026-01.io.bench:hold"
_SERVICE_TIME = "service-time 0 1 1 {} 1"
_ROUND_ROBIN = "round-robin 0 1 1 {} 1000"


@dataclass(frozen=True, slots=True)
class Form:
    """Where layers are: under the consumer's own member, its remote ones, and under the exports."""

    name: str
    local: bool = False
    remote: bool = False
    target: bool = False
    selector: str = _SERVICE_TIME
    mirror: bool = False  # dm-mirror with handle_errors in place of md and layers; it has no lasting bitmap


FORMS = (
    Form("none"),
    Form("every", local=True, remote=True),
    Form("every-round-robin", local=True, remote=True, selector=_ROUND_ROBIN),
    Form("local-and-target", local=True, target=True),
    Form("local", local=True),
    Form("dm-mirror", mirror=True),
)


class Bench:
    """What both sides do."""

    def __init__(self) -> None:
        self._tree = Tree()
        modules.ensure_loaded(self._tree, run, (*modules.MODULES, "dm-round-robin", "dm-mirror"))
        self._mapper = DeviceMapper()

    def place(self, number: int) -> str:
        """`MAJOR:MINOR` of the place of the form `number`; dm-linear stands for LVM."""
        disk, start = self._tree.device_number("/dev/nvme0n1"), number * _REPLICA_BYTES // 512
        table = (Target(0, _REPLICA_BYTES // 512, "linear", f"{disk} {start}"),)
        return self._mapper.create(f"place-{number}", f"place-{number}", table).number

    def hold(self, form: Form, below: str, name: str) -> str:
        """`MAJOR:MINOR` of a layer as replication.kernel.hold makes it, with the form's path selector."""
        parameters = f"3 queue_if_no_path queue_mode bio 0 1 1 {form.selector.format(below)}"
        table = (Target(0, _REPLICA_BYTES // 512, "multipath", parameters),)
        return self._mapper.create(f"hold-{name}", f"hold-{name}", table).number

    def export(self, address: str) -> None:
        for number, form in enumerate(FORMS):
            below = self.place(number)
            device = self.hold(form, below, form.name) if form.target else below
            nqn = f"nqn.2026-01.io.bench:{form.name}:{address}"
            path = blockdev.device_path(self._tree, device)
            unique = str(uuid.uuid5(uuid.NAMESPACE_URL, nqn))
            export = Export(nqn, path, _HOST_NQN, address, 4420 + number, unique)
            Nvmet(self._tree).ensure_export(export)

    def assemble(self, addresses: list[str]) -> dict[str, str]:
        made = {form.name: self._array(number, form, addresses) for number, form in enumerate(FORMS)}
        return made | {"bare": blockdev.device_path(self._tree, self.place(len(FORMS)))}

    def _array(self, number: int, form: Form, addresses: list[str]) -> str:
        local = self.place(number)
        devices = [self.hold(form, local, f"{form.name}-local") if form.local else local]
        devices += [self._remote(number, form, address) for address in addresses]
        if form.mirror:
            return self._mirror(devices)
        members = tuple(md.MemberSpec(device, slot, slot > 0) for slot, device in enumerate(devices))
        path = md.assemble(
            self._tree, md.ArraySpec(f"b{number}", 3, DATA_BYTES, 64 << 10, members, resync=False)
        )
        md.activate(self._tree, f"b{number}")
        self._write_once(path, f"b{number}")
        return path

    def _mirror(self, devices: list[str]) -> str:
        legs = " ".join(f"{device} 0" for device in devices)
        parameters = f"core 2 128 nosync {len(devices)} {legs} 1 handle_errors"
        table = (Target(0, _REPLICA_BYTES // 512, "mirror", parameters),)
        path = blockdev.device_path(self._tree, self._mapper.create("mirror", "mirror", table).number)
        _fill(path)
        return path

    def _remote(self, number: int, form: Form, address: str) -> str:
        nqn = f"nqn.2026-01.io.bench:{form.name}:{address}"
        kname = NvmeHost(self._tree).ensure_connected(Connection(nqn, address, 4420 + number, _HOST_NQN))
        below = blockdev.number(self._tree, kname)
        return self.hold(form, below, f"{form.name}-{address}") if form.remote else below

    def _write_once(self, path: str, name: str) -> None:
        """The first write of an array waits until it is let go; it is filled too, as fio reads it."""
        filler = threading.Thread(target=_fill, args=(path,))
        filler.start()
        wait_until(
            lambda: read_array(self._tree, name).write_pending, "a write", timeout=30, clock=SystemClock()
        )
        md.acknowledge_writes(self._tree, name)
        filler.join()


def _fill(path: str) -> None:
    file = os.open(path, os.O_WRONLY)
    for offset in range(0, DATA_BYTES, 1 << 20):
        os.pwrite(file, b"\xa5" * (1 << 20), offset)
    os.fsync(file)
    os.close(file)


def main() -> None:
    role, addresses = sys.argv[1], sys.argv[2:]
    if role == "target":
        Bench().export(addresses[0])
    else:
        print(json.dumps(Bench().assemble(addresses)))


if __name__ == "__main__":
    main()
