"""The control plane as a process."""

from pathlib import Path

from click.testing import CliRunner

from replication.cli.main import main
from replication.clock import SystemClock, wait_until
from tests.unit.cli.process import Process


def test_the_control_plane_ends_when_told_to(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    assert CliRunner().invoke(main, ["--state", state, "cluster", "init"]).exit_code == 0
    process = Process(tmp_path / "log", "replication.cli.main", "--state", state, "control", "run")
    try:
        wait_until(lambda: "watching over" in process.said, "control run", timeout=90, clock=SystemClock())
    finally:
        assert process.end() == 0
    assert "stopped" in process.said


def test_without_a_cluster_there_is_nothing_to_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--state", str(tmp_path), "control", "run"])
    assert (result.exit_code, "there is no cluster here" in result.stderr) == (5, True)
