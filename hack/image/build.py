"""The image of deploy/Dockerfile, built by Debian's buildah: no daemon, no registry, nothing installed.

buildah starts itself again for each step and so cannot be run from where it is unpacked: it has a root of its
own, made by debootstrap. The image's base is the same root without it, or one of another architecture, whose
programs are emulated: hack/image/emulation.py.
"""

import argparse
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hack.image import emulation
from hack.image.emulation import ARCHITECTURES, NATIVE
from hack.lab import apt, packages, paths
from hack.lab.errors import LabError

TAG = "localhost/trilith:lab"
INPUTS = (
    *("pyproject.toml", "LICENSE", "deploy/Dockerfile", "deploy/requirements.lock"),
    *("csi", "replication", "hack/image"),
)
_RELEASE = "bookworm"
_BASE = f"localhost/debian:{_RELEASE}"
_SCRIPT = Path(__file__).with_name("build.sh")
_POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
_TRUST = Path("/etc/ssl/certs/ca-certificates.crt")
_TIMEOUT = 3600


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the image and says where its archive is.")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=NATIVE)
    try:
        print(ensure_image(parser.parse_args().architecture))
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def ensure_image(architecture: str = NATIVE) -> Path:
    """An archive, as `docker save` makes one, of this state of the checkout. LabError when it cannot be."""
    archive = _folder(architecture) / f"trilith-{_digest()}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / "lock").open("w") as lock:  # not the whole cache's: a build takes minutes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _build(_ensure_builder(architecture), archive, architecture)
    return archive


def run_in_image(archive: Path, argv: Sequence[str], architecture: str = NATIVE) -> str:
    """What a program of it prints, run as the user and in the environment that the image names."""
    buildah = shlex.join(_buildah(architecture))
    steps = f"""
        working=$({buildah} from --quiet docker-archive:{archive})
        trap '{buildah} rm "$working" >/dev/null' EXIT
        {buildah} run --isolation=chroot "$working" -- {shlex.join(argv)}"""
    shared = archive.parent
    return _inside(_ensure_builder(architecture), ["sh", "-euc", steps], shared, architecture=architecture)


def _folder(architecture: str) -> Path:
    return paths.cache() / "image" / architecture


def _digest() -> str:
    """Of everything that the Dockerfile copies."""
    found = hashlib.sha256()
    for path in sorted(_list_inputs()):
        found.update(f"{path.relative_to(paths.REPOSITORY)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


def _list_inputs() -> list[Path]:
    tops = (paths.REPOSITORY / name for name in INPUTS)
    files = [file for top in tops for file in ((top,) if top.is_file() else top.rglob("*"))]
    return [file for file in files if file.is_file() and file.suffix != ".pyc"]


def _ensure_builder(architecture: str) -> Path:
    """A Debian root with buildah in it, which holds the base image, and the layers of earlier builds."""
    builder = _folder(architecture) / f"builder-{_RELEASE}"
    if not builder.exists():
        _make_whole(builder, partial(_fill_builder, architecture))
    return builder


def _make_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """It gets its name only when `fill` is through."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=".making-"))
    try:
        fill(scratch / "root")
        (scratch / "root").rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fill_builder(architecture: str, root: Path) -> None:
    packages.ensure_packages(packages.IMAGES)
    _debootstrap(root)
    base = root if architecture == NATIVE else _make_foreign(architecture, root)
    _run(["tar", "-C", str(base), "-cf", str(root.with_name("base.tar")), "."])
    _inside(root, ["apt-get", "update", "-q"])
    _inside(root, ["apt-get", "install", "-qy", "--no-install-recommends", "buildah", "ca-certificates"])
    root.with_name("base.tar").rename(root / "base.tar")
    (root / "etc" / "containers").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "containers" / "policy.json").write_text(_POLICY)
    buildah = shlex.join(_buildah(NATIVE))  # emulated, it could not make the base's devices
    steps = f"""
        working=$({buildah} from scratch)
        {buildah} add --quiet $working /base.tar /
        {buildah} config --arch {architecture} $working
        {buildah} commit --quiet --rm $working {_BASE}
        rm /base.tar"""
    _inside(root, ["sh", "-euc", steps])


def _debootstrap(root: Path, *options: str) -> None:
    """What it mounts goes with it, however it ends."""
    tree = packages.get_tree(packages.IMAGES)
    mirror = apt.choose_sources(apt.read_sources(), _RELEASE)[0].uri
    environment = {**os.environ, "DEBOOTSTRAP_DIR": str(tree / "usr" / "share" / "debootstrap")}
    argv = ["unshare", "--mount", str(tree / "usr" / "sbin" / "debootstrap"), "--variant=minbase", *options]
    _run([*argv, _RELEASE, str(root), mirror], environment)


def _make_foreign(architecture: str, builder: Path) -> Path:
    """Unpacked here, where devices can be made; then its own programs set it up."""
    base = builder.with_name("base")
    _debootstrap(base, "--foreign", f"--arch={architecture}")
    # debootstrap tries whether it can make devices, although it has them, unless it is in an lxc.
    second = ["chroot", str(base), "env", "container=lxc", "/debootstrap/debootstrap", "--second-stage"]
    _inside(builder, second, base, architecture=architecture)
    return base


def _buildah(architecture: str) -> list[str]:
    words = ["buildah", "--storage-driver", "overlay"]  # vfs copies all of it for each step: 11 GB
    return words if architecture == NATIVE else [*words, "--storage-opt", "overlay.mountopt=userxattr"]


def _build(builder: Path, archive: Path, architecture: str) -> None:
    """Layers of an earlier build are used again."""
    scratch = Path(tempfile.mkdtemp(dir=archive.parent, prefix=".building-"))
    try:
        (scratch / "pip.conf").write_text(f"[global]\ncert = {scratch / 'trust.crt'}\n")
        shutil.copyfile(
            _TRUST, scratch / "trust.crt"
        )  # the machine may trust a proxy that Debian does not know
        build = _build_argv(scratch, architecture)
        _inside(builder, build, scratch, paths.REPOSITORY, architecture=architecture)
        new = scratch / "image.tar"
        push = [*_buildah(architecture), "push", "--quiet", TAG, f"docker-archive:{new}:{TAG}"]
        _inside(builder, push, scratch, architecture=architecture)
        new.rename(archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build_argv(scratch: Path, architecture: str) -> list[str]:
    """Nothing is pulled; steps run in a plain chroot, which needs no container runtime."""
    volumes = (f"{scratch}:{scratch}:ro", f"{scratch}/pip.conf:/etc/pip.conf:ro")
    options = {
        "arch": architecture,
        "isolation": "chroot",
        "file": str(paths.REPOSITORY / "deploy" / "Dockerfile"),
        "build-arg": f"BASE={_BASE}",
        "tag": TAG,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    mounted = [f"--volume={volume}" for volume in volumes]
    build = [*_buildah(architecture), "build", "--pull-never", "--layers"]
    return [*build, *words, *mounted, str(paths.REPOSITORY)]


def _inside(root: Path, argv: Sequence[str], *shared: Path, architecture: str = NATIVE) -> str:
    environment = {**os.environ, "ROOT": str(root), "SHARED": " ".join(map(str, shared))}
    isolated = ["unshare", "--mount", str(_SCRIPT), *argv]
    if architecture == NATIVE:
        return _run(isolated, environment)
    environment["BINARIES"] = emulation.describe_binaries()
    return _check(emulation.run(isolated, environment, _TIMEOUT))


def _run(argv: Sequence[str], environment: dict[str, str] | None = None) -> str:
    return _check(
        subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
    )


def _check(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()[-2000:]
        words = " ".join(done.args[:4])
        raise LabError(f"the image cannot be built: {words}: status {done.returncode}: {said}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
