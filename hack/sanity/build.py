"""csi-sanity, built from its Go module: pinned by go.mod and go.sum here, kept in the user's cache."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from hack.lab import paths
from hack.lab.errors import LabError

_MODULE = Path(__file__).parent
_PACKAGE = "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
_TIMEOUT = 900


def ensure_csi_sanity() -> Path:
    """The program. Raises LabError without Go, or when the build fails."""
    pins = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    program = paths.cache().parent / "go" / f"csi-sanity-{hashlib.sha256(pins).hexdigest()[:12]}"
    with paths.locked_cache():
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise LabError("csi-sanity is built with Go, and there is no `go` on this machine: install golang-go")
    program.parent.mkdir(parents=True, exist_ok=True)
    new = program.with_suffix(".new")
    argv = [go, "build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-o", str(new), _PACKAGE]
    done = subprocess.run(argv, cwd=_MODULE, check=False, capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        raise LabError(f"csi-sanity cannot be built: {done.stderr.strip()}")
    new.replace(program)
