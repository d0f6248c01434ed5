"""Where the services listen."""

import socket
from pathlib import Path

import pytest

from csi.endpoint import TlsEndpoint, UnixEndpoint, parse_endpoint, remove_stale_socket
from replication.errors import FailedPrecondition, InvalidRequest


def test_endpoints() -> None:
    assert parse_endpoint("unix:///run/csi.sock") == UnixEndpoint(Path("/run/csi.sock"))
    assert parse_endpoint("tls://10.0.0.1:7443") == TlsEndpoint("10.0.0.1:7443")
    assert parse_endpoint("tls://[::1]:7443") == TlsEndpoint("[::1]:7443")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/run/csi.sock",
        "unix://run/csi.sock",
        "unix:///run/",
        "unix:///" + "x" * 107,
        "tcp://10.0.0.1:7443",
        "tls://10.0.0.1",
        "tls://:7443",
        "tls://10.0.0.1:70000",
        "tls://10.0.0.1:x",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="endpoint"):
        parse_endpoint(text)


def test_a_socket_that_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    remove_stale_socket(path)
    assert not path.exists()


def test_a_socket_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        with pytest.raises(FailedPrecondition, match="another process is listening"):
            remove_stale_socket(path)
    assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "csi.sock"
    path.write_text("precious")
    with pytest.raises(FailedPrecondition, match="not a socket"):
        remove_stale_socket(path)
    assert path.read_text() == "precious"


def test_no_file_is_no_trouble(tmp_path: Path) -> None:
    remove_stale_socket(tmp_path / "csi.sock")
