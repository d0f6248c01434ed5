"""A machine's first root: busybox, the few modules that reach the host's root, and who the machine is."""

import lzma
import shlex
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from hack.lab import cpio, paths
from hack.lab.packages import Kernel, read_pins

INIT = Path(__file__).with_name("init.sh")
MODPROBE = Path(__file__).with_name("modprobe.sh")
SERVER = Path(__file__).with_name("guest.py")
MODULES = (
    "virtio_pci",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "virtio_blk",
    "9pnet_virtio",
    "9p",
    "overlay",
    "configfs",
    "nvme",
)


def write_initramfs(path: Path, kernel: Kernel, name: str, addresses: Mapping[str, str]) -> None:
    """The whole image for machine `name`; `addresses` are those of all machines."""
    modules = list(order_modules((kernel.modules / "modules.dep").read_text(), MODULES))
    conf = format_conf(kernel, name, addresses[name])
    hosts = "".join(
        f"{address} {host}\n" for host, address in {"localhost": "127.0.0.1", **addresses}.items()
    )
    cpio.write_archive(
        path,
        [
            *map(cpio.folder, ("bin", "dev", "host", "newroot", "proc", "sys", "tools", "upper", "mods")),
            cpio.file("bin/busybox", _busybox().read_bytes(), executable=True),
            cpio.file("init", INIT.read_bytes(), executable=True),
            cpio.file("modprobe", MODPROBE.read_bytes(), executable=True),
            cpio.file("lab.conf", conf.encode()),
            cpio.file("hosts", hosts.encode()),
            cpio.file("modules", "".join(f"/mods/{_plain(module)}\n" for module in modules).encode()),
            *(cpio.file(f"mods/{_plain(module)}", _read(kernel.modules / module)) for module in modules),
        ],
    )


def _busybox() -> Path:
    return read_pins().trees["host"].path / "usr" / "bin" / "busybox"


def _plain(module: str) -> str:
    return Path(module).name.removesuffix(".xz")


def _read(module: Path) -> bytes:
    return lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()


def order_modules(modules_dep: str, wanted: tuple[str, ...]) -> Iterator[str]:
    """Files to load, each after what it needs; a wanted module without a file is built into the kernel."""
    rows = dict(line.split(":", 1) for line in modules_dep.splitlines())
    files = {_plain(file).removesuffix(".ko").replace("-", "_"): file for file in rows}
    seen: set[str] = set()
    for name in wanted:
        file = files.get(name)
        if file is None:
            continue
        for needed in [*reversed(rows[file].split()), file]:
            if needed not in seen:
                seen.add(needed)
                yield needed


def format_conf(kernel: Kernel, name: str, address: str) -> str:
    """Shell assignments for init.sh."""
    values = {
        "NAME": name,
        "ADDRESS": address,
        "MACHINE_ID": uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.lab").hex,
        "RELEASE": kernel.release,
        "MODULES": str(kernel.modules),
        "PYTHON": str(paths.PYTHON),
        "SERVER": str(SERVER),
        "KEEP": " ".join(_below_tmp((paths.REPOSITORY, paths.cache().parent, paths.PYTHON.parents[1]))),
    }
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())


def _below_tmp(folders: tuple[Path, ...]) -> Iterator[str]:
    tmp = Path("/tmp")  # noqa: S108 - the place, not a file made there
    for path in map(Path.resolve, folders):
        if path.is_relative_to(tmp):
            yield str(path.relative_to(tmp))
