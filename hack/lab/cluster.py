"""Some machines in one network, started together."""

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType

from hack.lab import network, paths, rundir
from hack.lab.accelerator import choose_accelerator
from hack.lab.diskcopy import copy_image
from hack.lab.initramfs import write_initramfs
from hack.lab.packages import DEFAULT_KERNEL, get_kernel, read_pins
from hack.lab.qemu import Hardware
from hack.lab.vm import Machine

GIB = 1 << 30
_KEPT_LOGS = 20


class Cluster:
    """Machines m1…mN; `with Cluster() as cluster` boots them and in the end takes everything away.

    enter_private_network() must have been called. One cluster at a time in a process.

    One processor each: with three emulated machines on two cores, starting programs takes half the time
    that it takes with two each, where one spins for another that does not run. `cpus=2` is for races.

    Disks are NVMe, say that they have a volatile write cache, and forget nothing. With `volatile` they are
    virtio's. True: what was not flushed is forgotten when the power fails. False: they have no such cache.

    Each machine's disk N begins as a copy of `images[N]`, or empty.
    """

    def __init__(  # noqa: PLR0913 - what machines differ in, each by its name
        self,
        nodes: int = 3,
        disks: int = 1,
        *,
        disk_size_bytes: int = 2 * GIB,
        memory_mib: int = 900,
        cpus: int = 1,
        volatile: bool | None = None,
        images: Mapping[int, Path] = MappingProxyType({}),
        kernel: str = DEFAULT_KERNEL,
    ) -> None:
        self.nodes = nodes
        self.disks = disks
        self.disk_size_bytes = disk_size_bytes
        self.memory_mib = memory_mib
        self.cpus = cpus
        self.volatile = volatile
        self.images = images
        self.kernel = get_kernel(kernel)
        self.machines: tuple[Machine, ...] = ()
        self.logs = Path()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Cluster":
        network.require_private_network()
        with self._stack:
            folder = self._stack.enter_context(rundir.run_folder())
            self.logs = _make_log_folder()
            self.machines = tuple(self._machines(folder))
            for machine in self.machines:
                self._stack.callback(machine.crash)
                machine.power_on()
            for machine in self.machines:
                machine.wait_ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, name: str) -> Machine:
        """Machine by name."""
        return {machine.name: machine for machine in self.machines}[name]

    def restore(self) -> None:
        """All machines run and all cables are in; what is on the disks stays."""
        for machine in self.machines:
            machine.heal()
        off = [machine for machine in self.machines if not machine.running]
        for machine in off:
            machine.power_on()
        for machine in off:
            machine.wait_ready()

    def renew_disks(self, machine: Machine) -> None:
        """As if it were another machine, which is off: each disk is as it was in the beginning."""
        for number, path in enumerate(machine.hardware.disks):
            path.unlink()
            self._make_disk(path.parent, machine.name, number)

    def _machines(self, folder: Path) -> Iterator[Machine]:
        addresses = {f"m{index}": network.machine_address(index) for index in range(1, self.nodes + 1)}
        accelerator = choose_accelerator()
        for index, (name, address) in enumerate(addresses.items(), start=1):
            initramfs = folder / f"{name}.initramfs"
            write_initramfs(initramfs, self.kernel, name, addresses)
            tap = self._stack.enter_context(network.tap(network.tap_name(index)))
            disks = tuple(self._make_disk(folder, name, number) for number in range(self.disks))
            yield Machine(
                Hardware(
                    name=name,
                    index=index,
                    accelerator=accelerator,
                    cpus=self.cpus,
                    memory_mib=self.memory_mib,
                    kernel=self.kernel.image,
                    initramfs=initramfs,
                    disks=disks,
                    tap=tap,
                    folder=folder,
                    console=self.logs / f"{name}.console",
                    tools=read_pins().trees["guest"].path,
                    volatile=self.volatile,
                ),
                address,
            )

    def _make_disk(self, folder: Path, name: str, number: int) -> Path:
        path = folder / f"{name}-disk{number}"
        if number in self.images:
            copy_image(self.images[number], path)
        with path.open("ab") as disk:
            disk.truncate(self.disk_size_bytes)
        return path


def _make_log_folder() -> Path:
    """A new folder for this run's consoles; the oldest runs' go."""
    now = datetime.datetime.now(datetime.UTC)
    folder = paths.LOGS / f"{now:%Y%m%d-%H%M%S-%f}-{os.getpid()}"
    folder.mkdir(parents=True)
    for old in sorted(paths.LOGS.iterdir())[:-_KEPT_LOGS]:
        shutil.rmtree(old, ignore_errors=True)
    return folder
