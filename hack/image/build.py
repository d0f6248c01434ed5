"""The image of deploy/Dockerfile, built by Debian's buildah: no daemon, no registry, nothing installed.

buildah starts itself again for each step and so cannot be run from where it is unpacked: it has a root of its
own, made by debootstrap. The image's base is the same root without it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

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
_BUILDAH = ("buildah", "--storage-driver", "overlay")  # vfs copies all of it for each step: 11 GB


def ensure_image() -> Path:
    """An archive, as `docker save` makes one, of this state of the checkout. LabError when it cannot be."""
    archive = _folder() / f"trilith-{_digest()}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (archive.parent / "lock").open("w") as lock:  # not the whole cache's: a build takes minutes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _build(_ensure_builder(), archive)
    return archive


def _folder() -> Path:
    return paths.cache() / "image"


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


def _ensure_builder() -> Path:
    """A Debian root with buildah in it, which holds the base image, and the layers of earlier builds."""
    builder = _folder() / f"builder-{_RELEASE}"
    if not builder.exists():
        _make_whole(builder, _fill_builder)
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


def _fill_builder(root: Path) -> None:
    tree = packages.get_tree(packages.IMAGES)
    packages.ensure_packages(packages.IMAGES)
    mirror = apt.choose_sources(apt.read_sources(), _RELEASE)[0].uri
    environment = {**os.environ, "DEBOOTSTRAP_DIR": str(tree / "usr" / "share" / "debootstrap")}
    program = str(tree / "usr" / "sbin" / "debootstrap")
    _run([program, "--variant=minbase", _RELEASE, str(root), mirror], environment)
    _run(["tar", "-C", str(root), "-cf", str(root.with_name("base.tar")), "."])
    _inside(root, ["apt-get", "update", "-q"])
    _inside(root, ["apt-get", "install", "-qy", "--no-install-recommends", "buildah", "ca-certificates"])
    root.with_name("base.tar").rename(root / "base.tar")
    (root / "etc" / "containers").mkdir(parents=True, exist_ok=True)
    (root / "etc" / "containers" / "policy.json").write_text(_POLICY)
    steps = f"""
        working=$({" ".join(_BUILDAH)} from scratch)
        {" ".join(_BUILDAH)} add --quiet $working /base.tar /
        {" ".join(_BUILDAH)} commit --quiet --rm $working {_BASE}
        rm /base.tar"""
    _inside(root, ["sh", "-euc", steps])


def _build(builder: Path, archive: Path) -> None:
    """Layers of an earlier build are used again."""
    scratch = Path(tempfile.mkdtemp(dir=archive.parent, prefix=".building-"))
    try:
        (scratch / "pip.conf").write_text(f"[global]\ncert = {scratch / 'trust.crt'}\n")
        shutil.copyfile(
            _TRUST, scratch / "trust.crt"
        )  # the machine may trust a proxy that Debian does not know
        _inside(builder, _build_argv(scratch), scratch, paths.REPOSITORY)
        new = scratch / "image.tar"
        _inside(builder, [*_BUILDAH, "push", "--quiet", TAG, f"docker-archive:{new}:{TAG}"], scratch)
        new.rename(archive)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _build_argv(scratch: Path) -> list[str]:
    """Nothing is pulled; steps run in a plain chroot, which needs no container runtime."""
    volumes = (f"{scratch}:{scratch}:ro", f"{scratch}/pip.conf:/etc/pip.conf:ro")
    options = {
        "isolation": "chroot",
        "file": str(paths.REPOSITORY / "deploy" / "Dockerfile"),
        "build-arg": f"BASE={_BASE}",
        "tag": TAG,
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    mounted = [f"--volume={volume}" for volume in volumes]
    return [*_BUILDAH, "build", "--pull-never", "--layers", *words, *mounted, str(paths.REPOSITORY)]


def _inside(root: Path, argv: Sequence[str], *shared: Path) -> None:
    environment = {**os.environ, "ROOT": str(root), "SHARED": " ".join(map(str, shared))}
    _run(["unshare", "--mount", str(_SCRIPT), *argv], environment)


def _run(argv: Sequence[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()[-2000:]
        raise LabError(f"the image cannot be built: {' '.join(argv[:4])}: status {done.returncode}: {said}")
