"""Calls that may wait for a disk for ever, made by a process apart.

A thread that waits in the kernel (state D) cannot be killed, and its process ends no sooner than it does.
Whoever supervises the agent would wait for that with the next agent, and the disk perhaps for the next
agent's word. So a child makes these calls. It has nothing open that anybody could miss, and nobody waits for
its end. A container's runtime would, because it is in the container's cgroup: there it is given another one.

A wait that a signal does end (state S) is given up in time: each such write has a process of its own.
"""

import errno
import json
import os
import queue
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from replication.errors import KernelError, NotFound, TimedOut
from replication.kernel import direct
from replication.kernel.sysfs import refuse

_PACKET_BYTES = 1 << 14
_ERRORS = {kind.__name__: kind for kind in (KernelError, NotFound, TimedOut)}
_Answer = queue.SimpleQueue[tuple[str, str]]  # name of an error, or "", and its message


class Apart:
    """The child, and the way to it. Safe to use from several threads.

    To be made before other threads, gRPC's above all: it is a fork.
    """

    def __init__(self, cgroup: Path | None = None) -> None:
        """`cgroup` is the folder of the child's own, which is made; where it cannot be, it stays in ours."""
        if cgroup is not None:
            with suppress(OSError):
                cgroup.mkdir(exist_ok=True)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        self.pid = os.fork()
        if self.pid == 0:
            _serve(theirs, cgroup)  # it ends with its parent, not by a signal to them both
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._lock = threading.Lock()
        self._waiting: dict[int, _Answer] = {}
        self._number = 0
        threading.Thread(target=self._read, name="apart", daemon=True).start()

    def flush(self, path: str) -> None:
        """What the block device has acknowledged is stable when this returns. Can take for ever."""
        self._ask("flush", path)

    def write(self, path: str, value: str, timeout: float) -> None:
        """`value` to the attribute at `path`. TimedOut after `timeout` seconds: then it was not written.

        To be used where the kernel's wait is one that a signal ends.
        """
        self._ask("write", path, value, timeout)

    def _ask(self, *request: str | float) -> None:
        answer: _Answer = queue.SimpleQueue()
        with self._lock:
            self._number += 1
            self._waiting[self._number] = answer
            try:
                self._socket.send(json.dumps([self._number, *request]).encode())
            except OSError as error:
                del self._waiting[self._number]
                raise KernelError(self._ended()) from error
        kind, message = answer.get()
        if kind:
            raise _ERRORS[kind](message)

    def _read(self) -> None:
        """An end of the child is an error that ends the agent: replication/threads.py."""
        with suppress(ConnectionResetError):  # it ended before it had read what was asked
            while packet := self._socket.recv(_PACKET_BYTES):
                number, kind, message = json.loads(packet)
                with self._lock:
                    answer = self._waiting.pop(number)
                answer.put((kind, message))
        with self._lock:
            waiting = tuple(self._waiting.values())
        for answer in waiting:
            answer.put((KernelError.__name__, self._ended()))
        raise KernelError(self._ended())

    def _ended(self) -> str:
        return f"process {self.pid}, which waits for disks for this one, has ended"


def _serve(requests: socket.socket, cgroup: Path | None) -> NoReturn:
    """The child: a thread for each request."""
    if cgroup is not None:
        with suppress(OSError):  # it stays where it is: its end is waited for, which is worse only once
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    _let_go_of_all_but(requests.fileno())
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # it ends what writes
    writing: set[int] = set()
    try:
        while packet := requests.recv(_PACKET_BYTES):
            number, *request = json.loads(packet)
            threading.Thread(target=_answer, args=(requests, number, request, writing), daemon=True).start()
    finally:
        for pid in tuple(writing):  # nobody is left who would know of it
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _let_go_of_all_but(descriptor: int) -> None:
    """Standard output too: who reads it to its end would wait for us."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))


def _answer(answers: socket.socket, number: int, request: list[Any], writing: set[int]) -> None:
    kind = message = ""
    try:
        _do(*request, writing=writing)
    except (KernelError, NotFound, TimedOut) as error:
        kind, message = type(error).__name__, str(error)
    answers.send(json.dumps([number, kind, message]).encode())


def _do(act: str, path: str, value: str = "", timeout: float = 0.0, *, writing: set[int]) -> None:
    if act == "flush":
        direct.flush(path)
    else:
        _write(path, value, timeout, writing)


def _write(path: str, value: str, timeout: float, writing: set[int]) -> None:
    try:
        pid = os.fork()
    except OSError as error:
        refuse(f"start a process to write {value} to {path}", error)
    if pid == 0:
        _write_and_end(path, value, timeout)
    writing.add(pid)
    _, status = os.waitpid(pid, 0)
    writing.discard(pid)
    if os.WIFSIGNALED(status):
        raise TimedOut(f"write {value} to {path}: not within {timeout:g} s")
    number = os.waitstatus_to_exitcode(status)
    if number:
        refuse(f"write {value} to {path}", OSError(number, os.strerror(number)))


def _write_and_end(path: str, value: str, timeout: float) -> NoReturn:
    """Its status is the number of the kernel's error. The alarm ends it, also when nobody else is left."""
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        os.write(os.open(path, os.O_WRONLY), value.encode())
    except OSError as error:
        os._exit(error.errno or errno.EIO)
    os._exit(0)
