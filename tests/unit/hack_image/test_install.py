"""Our packages in an environment: commands that run, a version that is known, bytecode that is believed."""

import os
import subprocess  # noqa: TID251  what is installed is run as users run it
import sys
import venv
from pathlib import Path

import pytest

from hack.image.install import install


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without the packages that we depend on: they are this test's own, beside it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    install(folder, "1.2.3")
    return folder


def run(environment: Path, *words: str) -> str:
    others = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if "site-packages" in each)}
    argv = [str(environment / "bin" / words[0]), *words[1:]]
    done = subprocess.run(
        argv, check=True, capture_output=True, text=True, cwd="/", env=os.environ | others, timeout=60
    )
    return done.stdout


@pytest.mark.parametrize("program", ["trilith", "trilith-agent", "trilith-csi"])
def test_every_command_runs_outside_of_the_checkout(environment: Path, program: str) -> None:
    assert "Usage:" in run(environment, program, "--help")


def test_a_program_knows_its_version_and_where_it_is(environment: Path) -> None:
    asked = "import csi.identity as i; print(i._find_version(), i.__file__)"
    version, file = run(environment, "python", "-c", asked).split()
    assert version == "1.2.3"
    assert Path(file).is_relative_to(environment)


def test_bytecode_is_believed_whatever_the_dates_of_files_are(environment: Path) -> None:
    (module,) = environment.rglob("site-packages/csi/identity.py")
    (compiled,) = module.parent.glob("__pycache__/identity.*.pyc")
    os.utime(module, (1, 1))
    before = compiled.read_bytes()
    assert before[4:8] == b"\x01\x00\x00\x00"  # PEP 552: by hash, unchecked
    run(environment, "python", "-c", "import csi.identity")
    assert compiled.read_bytes() == before
