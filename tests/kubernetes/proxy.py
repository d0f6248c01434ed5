"""Between a store and the API server: connections that are slow, that break, or whose answers are lost."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

_CHUNK = 65536


class Proxy:
    """`with Proxy(address) as proxy: …`; its clients go to `proxy.server`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.delay = 0.0  # seconds before anything that the server says is passed on
        self._mutex = threading.Lock()
        self._open: set[socket.socket] = set()
        self._refusing = False
        self._deaf = False

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._serve, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Every connection ends, and new ones are refused, until `mend`."""
        self._refusing = True
        with self._mutex:
            for each in self._open:
                _end(each)

    def lose_answers(self) -> None:
        """What the server says from now on goes nowhere, and the connection ends with it, until `mend`."""
        self._deaf = True

    def mend(self) -> None:
        self._refusing = self._deaf = False
        self.delay = 0.0

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._mutex:
                self._open |= {client, server}
            for source, target, answers in ((client, server, False), (server, client, True)):
                words = (source, target, answers)
                threading.Thread(target=self._pass, args=words, name="proxied", daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if answers and self._deaf:
                    break
                if answers and self.delay:
                    threading.Event().wait(self.delay)
                target.sendall(chunk)
        for each in (source, target):
            _end(each)
            each.close()
        with self._mutex:
            self._open -= {source, target}


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
