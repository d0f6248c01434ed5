"""Kernel, QEMU and tools as pinned Debian packages, unpacked into the cache and never installed."""

import hashlib
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

from hack.lab import apt, paths
from hack.lab.errors import LabError

DEFAULT_KERNEL = "6.12"
PINS = Path(__file__).with_name("packages.toml")
KUBERNETES, IMAGES, EMULATION = "kubernetes", "images", "emulation"
"""Trees that only some want: the programs of a Kubernetes node, what an image is made with, and what one of
another architecture is."""

_ALWAYS = ("host", "guest")
_WHOLE = ("host", EMULATION)  # whatever of it the machine has installed
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, slots=True)
class Kernel:
    """One stock kernel: which package, which version of it."""

    name: str
    package: str
    version: str

    @property
    def release(self) -> str:
        """What `uname -r` says."""
        return self.package.removeprefix("linux-image-")

    @property
    def tree(self) -> Path:
        return paths.cache() / f"kernel-{self.release}_{self.version}"

    @property
    def image(self) -> Path:
        return self.tree / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.tree / "lib" / "modules" / self.release


@dataclass(frozen=True, slots=True)
class Tree:
    """A set of packages unpacked together."""

    name: str
    target: str
    pins: tuple[tuple[str, str], ...]
    packages: tuple[str, ...]

    @property
    def path(self) -> Path:
        key = hashlib.sha256(repr((self.target, self.pins, self.packages)).encode()).hexdigest()[:12]
        return paths.cache() / f"{self.name}-{key}"


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins file."""

    release: str
    kernels: dict[str, Kernel]
    trees: dict[str, Tree]


@once
def read_pins(path: Path = PINS) -> Pins:
    table = tomllib.loads(path.read_text())
    kernels = {k: Kernel(k, row["package"], row["version"]) for k, row in table["kernels"].items()}
    trees = {
        name: Tree(name, row["target"], tuple(sorted(row["pins"].items())), tuple(row["packages"]))
        for name, row in table["trees"].items()
    }
    return Pins(table["release"], kernels, trees)


def get_kernel(name: str) -> Kernel:
    kernels = read_pins().kernels
    if name not in kernels:
        raise LabError(f"no kernel {name!r}: {PINS.name} pins {', '.join(kernels)}")
    return kernels[name]


def ensure_packages(*more: str) -> None:
    """What every lab needs, and the trees named, are in the cache. Quick and offline when they are."""
    pins = read_pins()
    session = _Session(pins)
    with paths.locked_cache():
        for tree in (pins.trees[name] for name in (*_ALWAYS, *more)):
            _ensure(tree.path, lambda root, tree=tree: session.unpack_tree(tree, root))  # type: ignore[misc]
        for kernel in pins.kernels.values():
            _ensure(kernel.tree, lambda root, kernel=kernel: session.unpack_kernel(kernel, root))  # type: ignore[misc]


def get_tree(name: str) -> Path:
    """Where its packages are unpacked."""
    return read_pins().trees[name].path


def host_argv(program: str, argv0: str | None = None) -> list[str]:
    """Start of a command line that runs a program of the host tree with that tree's own C library."""
    root = read_pins().trees["host"].path
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
    return [*loader, "--argv0", argv0 or Path(program).name, str(root / "usr" / program)]


def _ensure(path: Path, fill: Callable[[Path], None]) -> None:
    """`path` exists and is whole: it gets its name only when `fill` is through."""
    if path.exists():
        return
    print(f"lab: unpacking {path.name}", flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unpacking-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        fill(root)
        root.rename(path)


class _Session:
    """Downloads of one set-up; the lists are fetched when the first download needs them."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._apt: apt.Apt | None = None

    def unpack_tree(self, tree: Tree, root: Path) -> None:
        for package, version in tree.pins:
            self._require(package, version)
        wanted = [*(f"{package}={version}" for package, version in tree.pins), *tree.packages]
        status = None if tree.name in _WHOLE else apt.HOST_STATUS
        with tempfile.TemporaryDirectory() as debs:
            self._archives().download_closure(wanted, tree.target, status, Path(debs))
            _unpack(Path(debs), root)
        merge_usr(root, links=tree.name == "host")

    def unpack_kernel(self, kernel: Kernel, root: Path) -> None:
        self._require(kernel.package, kernel.version)
        with tempfile.TemporaryDirectory() as debs:
            self._archives().download(kernel.package, kernel.version, Path(debs))
            _unpack(Path(debs), root)
        subprocess.run([*host_argv("bin/kmod", argv0="depmod"), "-b", str(root), kernel.release], check=True)

    def _archives(self) -> apt.Apt:
        if self._apt is None:
            sources = apt.choose_sources(apt.read_sources(), self._pins.release)
            self._apt = apt.Apt(paths.cache() / "apt", sources)
            self._apt.update()
        return self._apt

    def _require(self, package: str, version: str) -> None:
        archives = self._archives()
        versions = archives.versions(package)
        if version not in versions:
            similar = ", ".join(versions) or "none; packages of a like name: " + _alike(archives, package)
            raise LabError(
                f"{package} {version} cannot be had from this machine's mirror, which has: {similar}. "
                f"Put one of these into {PINS}."
            )


def _alike(archives: apt.Apt, package: str) -> str:
    stem = package.partition("-6.")[0] + "-6." if "-6." in package else package[:8]
    names = [
        n for n in archives.search(stem) if n.endswith("-amd64") and "-rt-" not in n and "-cloud-" not in n
    ]
    return ", ".join(names) or "none"


def _unpack(debs: Path, root: Path) -> None:
    for deb in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(root)], check=True)


def merge_usr(root: Path, *, links: bool) -> None:
    """Move /bin, /lib, … below /usr as on an installed system; `links` leaves /lib → usr/lib and so on.

    Without links the tree can lie over a root that has them: a real /lib would hide the one below.
    """
    for name in _MERGED:
        if (root / name).is_dir() and not (root / name).is_symlink():
            _move_into(root / name, root / "usr" / name)
        if links and (root / "usr" / name).exists() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def _move_into(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        into = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and into.is_dir():
            _move_into(entry, into)
        elif not (os.path.lexists(into) and entry.is_symlink()):
            shutil.move(entry, into)
    shutil.rmtree(source, ignore_errors=True)
