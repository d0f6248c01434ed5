"""QEMU's command line, as a function of what the machine is to be, and its start."""

import concurrent.futures
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hack.lab.guest import PORT_NAME
from hack.lab.packages import host_argv, read_pins

SERVER = Path(__file__).with_name("volatile.py")
KERNEL_LINE = (
    "console=ttyS0 quiet panic=-1 mitigations=off net.ifnames=0 apparmor=0 cryptomgr.notests rodata=off"
)
EMULATED = "max,-erms,-fsrm,-fzrm,-fsrs,-fsrc,-xsave"
"""Without what tells the kernel to copy and to clear by the byte, which are steps here, not bursts; and
without registers that each switch of tasks would have to save."""

_launcher = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="qemu-launcher")
"""One thread that lives as long as the process: QEMU dies with the thread that started it."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one machine consists of."""

    name: str
    index: int
    accelerator: str
    cpus: int
    memory_mib: int
    kernel: Path
    initramfs: Path
    disks: tuple[Path, ...]
    tap: str | None
    folder: Path
    console: Path
    tools: Path
    volatile: bool | None = None  # virtio disks that forget what was not flushed, or do not; None: NVMe

    @property
    def control(self) -> Path:
        return self.folder / f"{self.name}.control"

    @property
    def monitor(self) -> Path:
        return self.folder / f"{self.name}.monitor"

    def disk_socket(self, number: int) -> Path:
        """Where the server of a volatile disk listens."""
        return self.folder / f"{self.name}.{disk_node(number)}"


def qemu_argv(machine: Hardware) -> list[str]:
    """Arguments after the program's name."""
    return [
        *("-name", machine.name, "-machine", "q35", *_processor(machine)),
        *("-smp", str(machine.cpus), "-m", str(machine.memory_mib)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(machine.kernel), "-initrd", str(machine.initramfs), "-append", KERNEL_LINE),
        *_share("host", Path("/")),
        *_share("tools", machine.tools),
        *("-chardev", f"file,id=console,path={machine.console},append=on", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=control,path={machine.control},server=on,wait=off"),
        *("-device", "virtio-serial-pci", "-device", f"virtserialport,chardev=control,name={PORT_NAME}"),
        *("-qmp", f"unix:{machine.monitor},server=on,wait=off"),
        *("-device", "virtio-rng-pci"),
        *(_network(machine) if machine.tap else ()),
        *(word for number, disk in enumerate(machine.disks) for word in _disk(machine, number, disk)),
    ]


def _processor(machine: Hardware) -> tuple[str, ...]:
    if machine.accelerator == "tcg":
        return ("-accel", "tcg,thread=multi", "-cpu", EMULATED)
    return ("-accel", machine.accelerator, "-cpu", "max")


def _share(tag: str, path: Path) -> tuple[str, ...]:
    options = f"local,path={path},mount_tag={tag},security_model=none,readonly=on,multidevs=remap"
    return ("-virtfs", options)


def _network(machine: Hardware) -> tuple[str, ...]:
    mac = f"52:54:00:77:00:{machine.index:02x}"
    netdev = f"tap,id=net,ifname={machine.tap},script=no,downscript=no"
    return ("-netdev", netdev, "-device", f"virtio-net-pci,netdev=net,mac={mac},romfile=")


def disk_node(number: int) -> str:
    """Name of the block node that the NVMe device reads and writes through."""
    return f"disk{number}"


def _disk(machine: Hardware, number: int, path: Path) -> tuple[str, ...]:
    node, serial = disk_node(number), f"{machine.name}-disk{number}"
    no_flush = "off" if machine.volatile else "on"
    options = f"cache.direct=off,cache.no-flush={no_flush},discard=unmap,detect-zeroes=unmap"
    file = f"file,filename={path}"
    if machine.volatile:
        file = f"nbd,server.type=unix,server.path={machine.disk_socket(number)}"
    return (
        *("-blockdev", f"{file},node-name={node}-file,{options}"),
        *("-blockdev", f"raw,node-name={node},file={node}-file,{options}"),
        *("-device", f"{_controller(machine)},drive={node},serial={serial}"),
    )


def _controller(machine: Hardware) -> str:
    """QEMU's NVMe always has a volatile cache, and takes no heed of forced unit access (10.0.2)."""
    if machine.volatile is None:
        return "nvme"
    return f"virtio-blk-pci,write-cache={'on' if machine.volatile else 'off'}"


def start(machine: Hardware, log: Path) -> subprocess.Popen[bytes]:
    """QEMU, running; it is killed by the kernel when this process ends in whatever way."""
    return _launcher.submit(_start, machine, log).result()


def start_disks(machine: Hardware, log: Path) -> list[subprocess.Popen[bytes]]:
    """Servers for the disks that are volatile, to be killed after QEMU; the kernel does it like QEMU."""
    numbers = range(len(machine.disks)) if machine.volatile else ()
    return [_launcher.submit(_start_disk, machine, number, log).result() for number in numbers]


def _start_disk(machine: Hardware, number: int, log: Path) -> subprocess.Popen[bytes]:
    path = machine.disk_socket(number)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, log.open("ab") as output:
        listener.bind(str(path))
        listener.listen()  # here, so that QEMU need not wait for the server
        server = [sys.executable, "-I", "-S", str(SERVER), str(listener.fileno()), str(machine.disks[number])]
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *server],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(listener.fileno(),),
            start_new_session=True,
        )


def _start(machine: Hardware, log: Path) -> subprocess.Popen[bytes]:
    tree = read_pins().trees["host"].path / "usr"
    program = [
        *host_argv("bin/qemu-system-x86_64"),
        "-L",
        str(tree / "share" / "qemu"),
        "-L",
        str(tree / "share" / "seabios"),
    ]
    with log.open("ab") as output:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *program, *qemu_argv(machine)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "QEMU_MODULE_DIR": str(tree / "lib/x86_64-linux-gnu/qemu"),
            },
            start_new_session=True,
        )
