"""What is wrong with volumes and disks on this node, from what its kernel shows now."""

import os
from collections.abc import Callable, Iterator

from replication.agent.ailments import judge_array, judge_disks, judge_mount, judge_peers
from replication.agent.assembled import Arrays
from replication.agent.machine import Machine
from replication.agent.reports import Reports
from replication.agent.storage import Storage
from replication.errors import TrilithError
from replication.kernel.direct import BLOCK_BYTES, read_direct
from replication.kernel.md_state import device_of
from replication.kernel.mounts import Mounts
from replication.kernel.sysfs import refuse
from replication.model import Ailment, AilmentKind, VolumeGroup

LOOK_SECONDS = 2.0


class Health:
    """The examinations of rpc/contract.py."""

    def __init__(self, machine: Machine, arrays: Arrays, reports: Reports, storage: Storage) -> None:
        self._machine = machine
        self._arrays = arrays
        self._reports = reports
        self._storage = storage
        self._mounts = Mounts(machine.runner, machine.tree)

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[Ailment, ...]:
        self._arrays.get(volume_id)
        found = [judge_array(each) for each in self._reports.list_all() if each.volume_id == volume_id]
        found += [tuple(self._examine_path(device_of(volume_id), path)) for path in paths]
        return tuple(ailment for ailments in found for ailment in ailments)

    def _examine_path(self, device: str, path: str) -> Iterator[Ailment]:
        number, path = self._machine.tree.device_number(device), self._mounts.resolve(path)
        mount = next((each for each in self._mounts.list_of_device(number) if each.path == path), None)
        if mount is not None:
            yield from judge_mount(mount, self._find_fault(f"look at {path}", lambda: look(path)))
        elif not {path, f"{path}/device"} & {each.path for each in self._mounts.list_of_node(device)}:
            yield Ailment(AilmentKind.INACCESSIBLE, "NotMounted", f"nothing of it is mounted at {path}")

    def examine_storage(self) -> tuple[Ailment, ...]:
        groups = self._storage.list_volume_groups()
        faults = {group.disk: self._find_disk_fault(group) for group in groups}
        return (*judge_disks(faults), *judge_peers(self._reports.list_all()))

    def _find_disk_fault(self, group: VolumeGroup) -> str:
        return self._find_fault(f"read {group.disk}", lambda: read_direct(group.disk, 0, BLOCK_BYTES))

    def _find_fault(self, what: str, act: Callable[[], object]) -> str:
        """Why it cannot be done, within a bounded time; "" when it can."""
        try:
            self._machine.blocking.call(what, act, timeout=LOOK_SECONDS)
        except TrilithError as error:
            return str(error)
        return ""


def look(path: str) -> None:
    """KernelError when the file system there has been shut down: its directory cannot be read any more."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as error:
        refuse(f"look at {path}", error)
