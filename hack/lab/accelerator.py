"""Which accelerator works here: tried by booting, for a /dev/kvm may be there and run no stock kernel."""

import json
import os
from pathlib import Path

from hack.lab import paths, rundir
from hack.lab.errors import LabError
from hack.lab.initramfs import write_initramfs
from hack.lab.packages import DEFAULT_KERNEL, Kernel, get_kernel, read_pins
from hack.lab.qemu import Hardware
from hack.lab.vm import Machine

DEADLINE = 20.0
"""Seconds within which a machine that KVM really runs has long booted; it needs about two."""


def choose_accelerator() -> str:
    """`kvm` when our usual kernel boots with it, else `tcg`; tried once per boot of the host."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    kernel = get_kernel(DEFAULT_KERNEL)
    verdicts = paths.cache() / "accelerators.json"
    key = f"{_boot_id()} {kernel.release} {kernel.version}"
    known = json.loads(verdicts.read_text()) if verdicts.exists() else {}
    if key not in known:
        print("lab: trying KVM, once for this boot of the host", flush=True)
        known = {old: v for old, v in known.items() if old.startswith(_boot_id())}
        known[key] = "kvm" if _boots_with_kvm(kernel) else "tcg"
        _write(verdicts, known)
    return str(known[key])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _write(path: Path, verdicts: dict[str, str]) -> None:
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_text(json.dumps(verdicts, indent=1))
    scratch.replace(path)


def _boots_with_kvm(kernel: Kernel) -> bool:
    with rundir.run_folder() as folder:
        machine = _trial(kernel, folder)
        try:
            machine.start(DEADLINE)
        except LabError:
            return False
        finally:
            machine.crash()
    return True


def _trial(kernel: Kernel, folder: Path) -> Machine:
    name, address = "trial", "127.0.0.1"
    initramfs = folder / "initramfs"
    write_initramfs(initramfs, kernel, name, {name: address})
    hardware = Hardware(
        name=name,
        index=0,
        accelerator="kvm",
        cpus=1,
        memory_mib=512,
        kernel=kernel.image,
        initramfs=initramfs,
        disks=(),
        tap=None,
        folder=folder,
        console=folder / "console",
        tools=read_pins().trees["guest"].path,
    )
    return Machine(hardware, address)
