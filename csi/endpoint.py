"""Where a CSI service listens: a UNIX socket, or a TCP port with mutual TLS."""

import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from replication.errors import FailedPrecondition, InvalidRequest

UNIX = "unix://"
TLS = "tls://"
MAX_SOCKET_PATH_BYTES = 107  # sun_path of Linux, without its final zero

_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/]+):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A socket in the file system, for its owner only."""

    path: Path


@dataclass(frozen=True, slots=True)
class TlsEndpoint:
    """An address as gRPC wants it: host:port."""

    address: str


Endpoint = UnixEndpoint | TlsEndpoint


def parse_endpoint(text: str) -> Endpoint:
    if text.startswith(UNIX):
        return UnixEndpoint(_parse_socket_path(text))
    if text.startswith(TLS):
        return TlsEndpoint(_parse_address(text))
    raise InvalidRequest(f"endpoint {text!r}: must be unix:///PATH.sock or tls://HOST:PORT")


def remove_stale_socket(path: Path) -> None:
    """FailedPrecondition when somebody still answers there, or when it is no socket."""
    if not path.is_symlink() and not path.exists():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise FailedPrecondition(f"endpoint {path}: exists and is not a socket; remove it or choose another")
    if _answers(path):
        raise FailedPrecondition(f"endpoint {path}: another process is listening there")
    path.unlink()


def _parse_socket_path(text: str) -> Path:
    path = text.removeprefix(UNIX)
    if not path.startswith("/") or path.endswith("/"):
        raise InvalidRequest(f"endpoint {text!r}: must name an absolute path, as in unix:///run/csi.sock")
    if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
        raise InvalidRequest(
            f"endpoint {text!r}: the kernel takes socket paths of at most {MAX_SOCKET_PATH_BYTES} bytes"
        )
    return Path(path)


def _parse_address(text: str) -> str:
    address = text.removeprefix(TLS)
    match = _HOST_PORT.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise InvalidRequest(f"endpoint {text!r}: must be tls://HOST:PORT, as in tls://0.0.0.0:7443")
    return address


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
