"""Host's end of the command channel: requests to one guest's server, many at a time."""

import itertools
import json
import queue
import socket
import threading
import time
from pathlib import Path
from typing import Any

from hack.lab.errors import CommandTimedOut, LabError, MachineGone

_Reply = dict[str, Any]


class Channel:
    """One connection, made when QEMU has the socket; closed when the machine is gone."""

    def __init__(self, path: Path, name: str, *, timeout: float = 10) -> None:
        self._name = name
        self._socket = _connect(path, timeout)
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[_Reply | None]] = {0: queue.SimpleQueue()}
        self._closed = False
        self._reader = threading.Thread(target=self._read, name=f"channel-{name}", daemon=True)
        self._reader.start()

    def wait_hello(self, timeout: float) -> float:
        """Seconds from the start of the guest's kernel until its server was up."""
        return float(self._take(0, self._waiting[0], timeout)["uptime"])

    def ask(self, do: str, wait: float, **arguments: object) -> _Reply:
        """The guest's answer; raises LabError with the guest's words when it could not do it."""
        number, answer = next(self._ids), queue.SimpleQueue[_Reply | None]()
        request = json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n"
        with self._lock:
            if self._closed:
                raise MachineGone(f"{self._name} is off")
            self._waiting[number] = answer
            try:
                self._socket.sendall(request)
            except OSError as error:
                raise MachineGone(f"{self._name} is gone: {error}") from error
        reply = self._take(number, answer, wait)
        if "error" in reply:
            raise LabError(f"{self._name}: {do}: {reply['error']}")
        return reply

    def close(self) -> None:
        with self._lock:
            self._closed = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the other side was first
        finally:
            self._socket.close()

    def _take(self, number: int, answer: "queue.SimpleQueue[_Reply | None]", timeout: float) -> _Reply:
        try:
            reply = answer.get(timeout=timeout)
        except queue.Empty:
            raise CommandTimedOut(f"{self._name}: no answer within {timeout:g} s") from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if reply is None:
            raise MachineGone(f"{self._name} went away")
        return reply

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    self._deliver(json.loads(line))
        except (OSError, ValueError):
            pass  # cut off in the middle of a line: the same as the end
        with self._lock:
            self._closed = True
            waiting = list(self._waiting.values())
        for answer in waiting:
            answer.put(None)

    def _deliver(self, reply: _Reply) -> None:
        with self._lock:
            answer = self._waiting.get(reply["id"])
        if answer is not None:
            answer.put(reply)


def _connect(path: Path, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            if time.monotonic() > deadline:
                raise MachineGone(f"{path}: {error}") from error
            time.sleep(0.02)
        else:
            return connection
