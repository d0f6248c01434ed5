"""Disks of nodes with container images on them: an emulated machine would take minutes to import them."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hack.lab import paths
from hack.lab.errors import LabError
from hack.lab.packages import KUBERNETES, get_tree

SCRIPT = Path(__file__).with_name("seed.sh")
_TIMEOUT = 600


def ensure_disk(archives: Sequence[Path], size_bytes: int) -> Path:
    """A disk image, to be copied: what containerd and the kubelet of a node keep, the archives' images in it.

    Archives have to be named by what is in them. It is made once; needs root, and a loop device.
    """
    tree = get_tree(KUBERNETES)
    names = "\n".join(
        [tree.name, str(size_bytes), SCRIPT.read_text(), *(archive.name for archive in archives)]
    )
    path = paths.cache() / f"node-{hashlib.sha256(names.encode()).hexdigest()[:12]}.disk"
    if not path.exists():
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=".seeding-"))
        try:
            _fill(scratch / "disk", size_bytes, tree, archives)
            (scratch / "disk").rename(path)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return path


def _fill(disk: Path, size_bytes: int, tree: Path, archives: Sequence[Path]) -> None:
    with disk.open("wb") as file:
        file.truncate(size_bytes)
    environment = {"DISK": str(disk), "TREE": str(tree), "SCRATCH": str(disk.parent)}
    done = subprocess.run(
        ["unshare", "--mount", str(SCRIPT), *map(str, archives)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    if done.returncode:
        raise LabError(f"no disk for nodes: {SCRIPT.name}: status {done.returncode}: {done.stderr.strip()}")
