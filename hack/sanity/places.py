"""Paths inside a machine for csi-sanity, which knows of commands only: made, looked at and removed there."""

import socketserver
import sys
import threading
from pathlib import Path
from types import TracebackType

from hack.lab.vm import Machine

_SCRIPT = """#!{python} -IS
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({socket!r})
    connection.sendall(("{act} " + sys.argv[1]).encode())
    connection.shutdown(socket.SHUT_WR)
    answer = connection.makefile().read()
status, _, text = answer.partition(" ")
print(text)
sys.exit(int(status))
"""
_ACTS = {
    "create": "mkdir -p {path} && echo {path}",
    "remove": "rmdir {path} 2>/dev/null; test ! -e {path}",
    "check": "if test -d {path}; then echo directory; elif test -f {path}; then echo file; "
    "elif test -e {path}; then echo other; else echo not_found; fi",
}


class Places:
    """Commands in `folder`, one for each of create, remove and check; a context manager."""

    def __init__(self, folder: Path, machine: Machine) -> None:
        self._machine = machine
        socket = folder / "places.sock"
        self._commands = {act: folder / act for act in _ACTS}
        for act, path in self._commands.items():
            path.write_text(_SCRIPT.format(python=sys.executable, socket=str(socket), act=act))
            path.chmod(0o700)
        self._server = socketserver.ThreadingUnixStreamServer(str(socket), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="places", daemon=True)

    def command(self, act: str) -> str:
        return str(self._commands[act])

    def _handler(self) -> type[socketserver.StreamRequestHandler]:
        do = self._do

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                act, _, path = self.rfile.read().decode().partition(" ")
                self.wfile.write(do(act, path).encode())

        return Handler

    def _do(self, act: str, path: str) -> str:
        done = self._machine.run(_ACTS[act].format(path=path))
        return f"{done.status} {done.stdout.strip()}{done.stderr.strip() if done.status else ''}"

    def __enter__(self) -> "Places":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
