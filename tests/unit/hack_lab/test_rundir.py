import tempfile
from pathlib import Path

import pytest

from hack.lab import rundir


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_run_folder_is_gone_after_the_run() -> None:
    with rundir.run_folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()


def test_a_running_labs_folder_is_not_swept() -> None:
    with rundir.run_folder() as folder:
        rundir.sweep()
        assert folder.is_dir()


def test_a_dead_labs_folder_is_swept(tmp_path: Path) -> None:
    left = tmp_path / f"{rundir.PREFIX}left"
    left.mkdir()
    (left / "owner").touch()
    with rundir.run_folder():
        assert not left.exists()
