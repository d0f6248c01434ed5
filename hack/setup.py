"""Everything the project needs on Debian 12 with Python 3.11; nothing is installed outside caches.

Run by the system's Python: standard library only. Every step is skipped when what it makes is there, so a
second run is quick and needs no network.
"""

import argparse
import compileall
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from hack.golang import Program, ensure_program  # noqa: E402 - the checkout has to be importable first
from hack.helm.build import ensure_helm  # noqa: E402
from hack.image.build import ensure_image  # noqa: E402
from hack.kubernetes.build import CLUSTER, CONTROL_PLANE  # noqa: E402
from hack.lab import packages, paths  # noqa: E402
from hack.lab.errors import LabError  # noqa: E402
from hack.sanity.build import ensure_csi_sanity  # noqa: E402

UV_LOCK = Path(__file__).with_name("setup.lock")
REQUIREMENTS = REPOSITORY / "requirements.lock"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PURPOSES = ("check", "kubernetes", "cluster", "test", "demo", "bench")
_SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for", dest="purpose", choices=PURPOSES, default="test")
    purpose = parser.parse_args().purpose
    try:
        with paths.locked_cache():
            _timed("uv", ensure_uv)
        _timed("Python environment", ensure_environment)
        _timed("commands", ensure_commands)
        if purpose == "kubernetes":
            ensure_programs(CONTROL_PLANE)
            _timed("helm", ensure_helm)
        elif purpose != "check":
            _timed("programs of the host", require_programs)
            _timed("lab packages", packages.ensure_packages)
            _timed("bytecode", ensure_bytecode)
        if purpose == "test":
            _timed("csi-sanity", ensure_go_tools)
        if purpose == "cluster":
            ensure_cluster()
    except LabError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def _timed(what: str, step: Callable[[], object]) -> None:
    started = time.monotonic()
    step()
    print(f"setup: {what}: {time.monotonic() - started:.1f} s", flush=True)


def uv_folder() -> Path:
    return paths.cache().parent / f"uv-{_digest(UV_LOCK.read_bytes())}"


def ensure_uv() -> None:
    """uv, pinned with its hash, in an environment of its own in the user's cache."""
    folder = uv_folder()
    if _runs([str(folder / "bin" / "uv"), "--version"]):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not _runs([sys.executable, "-c", "import ensurepip, venv"]):
        _install_venv_module()
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "install"]
    _run([*pip, "--require-hashes", "-r", str(UV_LOCK)])


def _install_venv_module() -> None:
    """Debian keeps `venv` in a package of its own, and it has to match the system's Python: install it."""
    if os.geteuid():
        raise LabError("python3 has no venv module; as root: apt-get install python3-venv")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", "python3-venv"]):
        subprocess.run(["apt-get", *words], env=environment, stdin=subprocess.DEVNULL, check=False)
    if not _runs([sys.executable, "-c", "import ensurepip, venv"]):
        raise LabError("python3 has no venv module, and apt-get could not install python3-venv")


def ensure_environment() -> None:
    """The project's environment holds exactly what requirements.lock says."""
    stamp = paths.VENV / "lock-digest"
    python = paths.VENV / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = _digest(REQUIREMENTS.read_bytes(), version.encode())
    runs = _runs([str(python), "-c", f"import sys; sys.exit(sys.version[:4] != '{version}')"])
    if runs and stamp.exists() and stamp.read_text() == wanted:
        return
    uv = str(uv_folder() / "bin" / "uv")
    if not runs:
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(paths.VENV)])
    _run(
        [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            "--python",
            str(python),
            str(REQUIREMENTS),
        ]
    )
    stamp.write_text(wanted)


def ensure_commands() -> None:
    """The checkout is importable in the environment and its commands are there.

    By hand, not as an editable install: that would fetch a build backend, which no lock file pins.
    """
    for site in (paths.VENV / "lib").glob("python*/site-packages"):
        _write(site / "trilith-checkout.pth", f"{REPOSITORY}\n")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        script = _SCRIPT.format(python=paths.VENV / "bin" / "python", module=module, function=function)
        _write(paths.VENV / "bin" / name, script, mode=0o755)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(mode)


def ensure_bytecode() -> None:
    """The lab's machines see the checkout read-only, and each of them would compile it at every boot."""
    for package in ("csi", "replication", "hack"):
        if not compileall.compile_dir(REPOSITORY / package, quiet=1):
            raise LabError(f"{package} cannot be compiled")


def require_programs() -> None:
    """What the lab takes from the host itself, all of it in Debian's essential packages."""
    missing = [name for name in ("apt-get", "dpkg", "setpriv") if not shutil.which(name)]
    if missing:
        raise LabError(f"the lab needs Debian's {', '.join(missing)} on this machine")


def ensure_go_tools() -> None:
    """Without Go the tests that need them fail, and say so; the others can do without."""
    if shutil.which("go"):
        ensure_csi_sanity()
    else:
        print("setup: there is no `go` on this machine: `make sanity` and its tests will fail")


def ensure_cluster() -> None:
    """All that Kubernetes consists of."""
    _timed("packages of Kubernetes' nodes", lambda: packages.ensure_packages(packages.KUBERNETES))
    ensure_programs(CLUSTER)
    _timed("image of deploy/Dockerfile", ensure_image)


def ensure_programs(programs: Iterable[Program]) -> None:
    """Built with Go, each with its time: a quarter of an hour for all of them, the first time."""
    for program in programs:
        _timed(program.name, partial(ensure_program, program))


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _runs(argv: list[str]) -> bool:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, timeout=60)
    except OSError:
        return False
    return done.returncode == 0


def _run(argv: list[str]) -> None:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environment.pop("VIRTUAL_ENV", None)
    if CERTIFICATES.exists():  # the machine may trust a proxy that uv's own list does not know
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit status {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
