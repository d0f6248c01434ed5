"""A program of the lab's machines as an image's files: with all that it is linked to, as Debian has it."""

import re
import subprocess
from pathlib import Path

from hack.kubernetes.images import Image
from hack.lab.errors import LabError
from hack.lab.packages import get_tree

FIO = "trilith.io/lab/fio:1"
_LOADER = "/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_PRIVATE = ("", "ceph")
"""Below the folder of all libraries: librados' own are where only librados looks."""


def make_fio_image() -> Image:
    """fio, which runs with what the pod says."""
    tree = get_tree("guest")
    return Image(FIO, collect(tree, tree / "usr/bin/fio"), {"Cmd": ["fio"], "Env": ["PATH=/bin"]})


def collect(tree: Path, program: Path) -> dict[str, bytes]:
    """By path in the image. What the tree lacks is the host's, as in the machines, which have both."""
    folders = ":".join(str(tree / _LIBRARIES / each) for each in _PRIVATE)
    libraries = parse_list(_list_linked(program, folders))
    files = {f"bin/{program.name}": program, _LOADER.lstrip("/"): Path(_LOADER)}
    files |= {f"lib/{name}": path for name, path in libraries.items()}
    return {name: path.read_bytes() for name, path in files.items()}


def parse_list(listed: str) -> dict[str, Path]:
    """By name, where the loader found each."""
    found = re.findall(r"^\s*(\S+) => (/\S+)", listed, re.MULTILINE)
    return {name: Path(path) for name, path in found}


def _list_linked(program: Path, folders: str) -> str:
    argv = [_LOADER, "--library-path", folders, "--list", str(program)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise LabError(f"what {program} is linked to: {done.stderr.strip()}")
    return done.stdout
