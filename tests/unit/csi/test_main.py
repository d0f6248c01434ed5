"""The command `trilith-csi`."""

from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from csi.main import main
from csi.v1 import csi_pb2, csi_pb2_grpc
from replication.cli.main import main as trilith
from replication.clock import SystemClock, wait_until
from tests.unit.cli.process import Process


@pytest.fixture
def state(tmp_path: Path) -> str:
    """Of a new cluster."""
    state = str(tmp_path / "state")
    assert CliRunner().invoke(trilith, ["--state", state, "cluster", "init"]).exit_code == 0
    return state


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), prog_name="trilith-csi")


def test_a_controller_serves_until_it_is_told_to_end(state: str, tmp_path: Path) -> None:
    socket = tmp_path / "csi.sock"
    words = ("controller", "--endpoint", f"unix://{socket}", "--state", state)
    process = Process(tmp_path / "log", "csi.main", *words)
    require_ready(process, socket)
    assert "stopping" in process.said
    assert not socket.exists()


def test_a_node_plugin_serves_before_its_agent_answers(state: str, tmp_path: Path) -> None:
    certs, socket = str(tmp_path / "m1"), tmp_path / "csi.sock"
    CliRunner().invoke(trilith, ["--state", state, "certificate", "issue", "m1", "--out", certs])
    words = ("--endpoint", f"unix://{socket}", "--agent", "127.0.0.1:1", "--certs", certs, "--node", "m1")
    require_ready(Process(tmp_path / "log", "csi.main", "node", *words), socket)


def require_ready(process: Process, socket: Path) -> None:
    """It says that it serves, does, and ends when it is told to."""
    try:
        wait_until(lambda: "serving on" in process.said, "trilith-csi", timeout=90, clock=SystemClock())
        with grpc.insecure_channel(f"unix:{socket}") as channel:
            assert csi_pb2_grpc.IdentityStub(channel).Probe(csi_pb2.ProbeRequest()).ready.value
    finally:
        assert process.end() == 0


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("controller", "--endpoint", "tcp://0.0.0.0:1", "--state", "/nonexistent"), "unix:///PATH.sock"),
        (("controller", "--endpoint", "unix:///tmp/x.sock", "--state", "/nonexistent"), "/nonexistent"),
        (
            (
                "node",
                "--endpoint",
                "unix:///x.sock",
                "--agent",
                "a:1",
                "--certs",
                "/nonexistent",
                "--node",
                "m1",
            ),
            "/nonexistent",
        ),
    ],
)
def test_what_cannot_be_served_is_an_error_without_a_traceback(words: tuple[str, ...], word: str) -> None:
    result = run(*words)
    assert (result.exit_code, result.stderr.startswith("error: "), word in result.stderr) == (1, True, True)


@pytest.mark.parametrize("command", ["controller", "node"])
def test_an_endpoint_is_needed(command: str) -> None:
    assert "--endpoint" in run(command).stderr
