"""Programs built from Go modules: pinned by a go.mod and go.sum of ours, kept in the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.lab import paths
from hack.lab.errors import LabError

_TIMEOUT = 3600


@dataclass(frozen=True, slots=True)
class Program:
    """What is built, from the main package `package` as pinned in the folder `module`. Ours: `./NAME`."""

    name: str
    module: Path
    package: str
    ldflags: str = ""

    def path(self) -> Path:
        """Named by everything that it is made from."""
        own = sorted((self.module / self.package).glob("*.go")) if self.package.startswith("./") else []
        sources = b"".join(path.read_bytes() for path in (*self._pins(), *own))
        digest = hashlib.sha256(sources + self.ldflags.encode()).hexdigest()[:12]
        return paths.cache().parent / "go" / f"{self.name}-{digest}"

    def _pins(self) -> tuple[Path, Path]:
        return self.module / "go.mod", self.module / "go.sum"


def ensure_program(program: Program) -> Path:
    """The file to run. Raises LabError without Go, or when the build fails."""
    path = program.path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if not path.exists():
                _build(program, path)
    return path


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Not under the lock of the whole cache: a build takes minutes, and other checkouts may not need it."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(program: Program, path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise LabError(
            f"{program.name} is built with Go, and there is no `go` on this machine: install golang-go"
        )
    new = path.with_suffix(".new")
    argv = [go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath"]
    argv += [f"-ldflags=-s -w {program.ldflags}".rstrip(), "-o", str(new), program.package]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(
        argv,
        cwd=program.module,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    if done.returncode:
        raise LabError(f"{program.name} cannot be built: {done.stderr.strip()}")
    new.replace(path)
