"""The NVMe/TCP host: connected through /dev/nvme-fabrics, found through sysfs; no nvme-cli.

There is no `fast_io_fail_tmo`, and `ctrl_loss_tmo` is endless: a path that is lost makes requests wait,
because only the agent, after the record, may decide that they fail.
"""

import errno
import itertools
import os
import re
import socket
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from replication.clock import Clock, SystemClock, wait_until
from replication.errors import FailedPrecondition, KernelError, NotFound, TimedOut, Unavailable
from replication.kernel import sockets
from replication.kernel.deadline import Blocking
from replication.kernel.nvme_admin import AdminQueue, AdminQueueNode, choose_length, count_answer_bytes
from replication.kernel.sysfs import Tree, errno_of, refuse

_SUBSYSTEMS = "/sys/class/nvme-subsystem"
_CONTROLLERS = "/sys/class/nvme"
_NAMESPACE = re.compile(r"nvme\d+n\d+")  # not nvme0c1n1, one path of it
_CONTROLLER = re.compile(r"nvme\d+")
_REACH_TIMEOUT = 3.0
_START_TIMEOUT = 120.0  # longer than the kernel tries the first connection of a controller
_ANSWERS_WITHIN = 0.3  # seconds; a peer that is well takes some milliseconds
_QUESTIONS = 2  # a keep-alive may be answered together with one
_ANSWER = re.compile(r"instance=(\d+),cntlid=(\d+)")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a namespace is, and who we are for it."""

    nqn: str
    address: str
    port: int
    host_nqn: str
    io_queues: int = 2  # bounds how many CPUs one volume's replication can use
    keep_alive: int = 5  # seconds
    host_key: str = field(default="", repr=False)
    controller_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller of the fabric as the kernel has it."""

    name: str  # nvme3
    nqn: str
    state: str  # new, live, resetting, connecting, deleting, deleting (no IO), dead
    address: str  # traddr=…,trsvcid=…
    host_nqn: str

    @property
    def live(self) -> bool:
        return self.state == "live"


class Fabrics(Protocol):
    """/dev/nvme-fabrics."""

    def reach(self, address: str, port: int, timeout: float) -> None:
        """Open a TCP connection and close it. Raises TimedOut or Unavailable."""

    def connect(self, options: str) -> str:
        """One write and one read: `instance=I,cntlid=C`. Raises KernelError."""

    def options(self) -> str:
        """The words that the kernel knows."""


class FabricsNode:
    """The real one."""

    def __init__(self, path: str = "/dev/nvme-fabrics") -> None:
        self._path = path

    def reach(self, address: str, port: int, timeout: float) -> None:
        try:
            socket.create_connection((address, port), timeout).close()
        except TimeoutError as error:
            raise TimedOut(f"{address}:{port} does not answer within {timeout:g} s") from error
        except OSError as error:
            raise Unavailable(f"{address}:{port}: {error.strerror}") from error

    def connect(self, options: str) -> str:
        descriptor = self._open()
        try:
            os.write(descriptor, options.encode())
            return os.read(descriptor, 4096).decode()
        except OSError as error:
            refuse(f"connect {redact(options)}", error)
        finally:
            os.close(descriptor)

    def options(self) -> str:
        descriptor = self._open()
        try:
            return os.read(descriptor, 4096).decode()
        except OSError as error:
            refuse(f"read {self._path}", error)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR)
        except OSError as error:
            refuse(f"open {self._path}", error)


def format_options(connection: Connection) -> str:
    """The text for /dev/nvme-fabrics. The host id follows from the host NQN: the kernel wants fixed pairs."""
    words = [
        f"nqn={connection.nqn}",
        "transport=tcp",
        f"traddr={connection.address}",
        f"trsvcid={connection.port}",
        f"hostnqn={connection.host_nqn}",
        f"hostid={uuid.uuid5(uuid.NAMESPACE_URL, connection.host_nqn)}",
        f"keep_alive_tmo={connection.keep_alive}",
        "reconnect_delay=1",
        "ctrl_loss_tmo=-1",
        f"nr_io_queues={connection.io_queues}",
    ]
    if connection.host_key:
        words.append(f"dhchap_secret={connection.host_key}")
    if connection.controller_key:
        words.append(f"dhchap_ctrl_secret={connection.controller_key}")
    return ",".join(words)


def redact(options: str) -> str:
    """The same text without the keys."""
    return re.sub(r"(dhchap_(?:ctrl_)?secret)=[^,]*", r"\1=…", options)


def parse_answer(text: str) -> str:
    """`nvme3` of `instance=3,cntlid=1`."""
    match = _ANSWER.search(text)
    if match is None:
        raise KernelError(f"/dev/nvme-fabrics answered {text!r}")
    return f"nvme{match[1]}"


class NvmeHost:
    """The host side of this machine. Safe to call from several threads."""

    def __init__(
        self,
        tree: Tree,
        fabrics: Fabrics | None = None,
        clock: Clock | None = None,
        blocking: Blocking | None = None,
        admin: AdminQueue | None = None,
    ) -> None:
        self._tree = tree
        self._fabrics = fabrics or FabricsNode()
        self._admin = admin or AdminQueueNode()
        self._asked = itertools.count()
        self._clock = clock or SystemClock()
        self._blocking = blocking or Blocking()

    def ensure_connected(self, connection: Connection, *, timeout: float = 20.0) -> str:
        """The kernel name (`nvme2n1`) of the namespace; repeatable.

        TimedOut when the target does not answer; a connection that comes about after all is taken down again.
        KernelError when it refuses (the key, the host, no such subsystem). FailedPrecondition when this NQN
        is connected for another host NQN or address.
        """
        deadline = self._clock.now() + timeout
        there = self.find_controller(connection.nqn)
        if there is None:
            self._connect(connection, timeout)
        else:
            _check(there, connection)
        wait_until(
            lambda: self.find_namespace(connection.nqn) is not None,
            f"the namespace of {connection.nqn} to appear",
            timeout=max(1.0, deadline - self._clock.now()),
            clock=self._clock,
        )
        return self.get_namespace(connection.nqn)

    def _connect(self, connection: Connection, timeout: float) -> None:
        """Ask for a TCP connection of our own first.

        The kernel makes one connection at a time (nvmf_dev_mutex), so that one to a dead address would keep
        all others of this node waiting for as long as TCP tries, which is two minutes.
        """
        self._fabrics.reach(connection.address, connection.port, min(timeout, _REACH_TIMEOUT))
        options = format_options(connection)
        self._blocking.call(
            f"connect to {connection.nqn} at {connection.address}:{connection.port}",
            lambda: parse_answer(self._fabrics.connect(options)),
            timeout=timeout,
            late=self._delete,
        )

    def find_namespace(self, nqn: str) -> str | None:
        """Kernel name of the block device, once its node is there."""
        base = self._find_subsystem(nqn)
        names = self._tree.names(base) if base else ()
        return next((n for n in names if _NAMESPACE.fullmatch(n) and self._tree.exists(f"/dev/{n}")), None)

    def _find_subsystem(self, nqn: str) -> str | None:
        """Its directory."""
        bases = (f"{_SUBSYSTEMS}/{name}" for name in self._tree.names(_SUBSYSTEMS))
        return next((base for base in bases if self._tree.find(f"{base}/subsysnqn") == nqn), None)

    def get_namespace(self, nqn: str) -> str:
        name = self.find_namespace(nqn)
        if name is None:
            raise NotFound(f"there is no block device of {nqn} on this node")
        return name

    def list_controllers(self, prefix: str = "") -> tuple[Controller, ...]:
        """Controllers over TCP whose subsystem's NQN begins with `prefix`."""
        names = (name for name in self._tree.names(_CONTROLLERS) if _CONTROLLER.fullmatch(name))
        ours = (name for name in names if self._read_nqn(name).startswith(prefix))
        return tuple(found for name in ours if (found := self._find(name)) is not None)

    def _read_nqn(self, controller: str) -> str:
        return self._tree.find(f"{_CONTROLLERS}/{controller}/subsysnqn") or ""

    def find_controller(self, nqn: str) -> Controller | None:
        base = self._find_subsystem(nqn)
        return self._find_controller_in(base) if base else None

    def find_controller_of(self, namespace: str) -> Controller | None:
        """The one that `nvme2n1` comes through; None for a device that does not come over the network."""
        return self._find_controller_in(f"/sys/class/block/{namespace}/device")

    def _find_controller_in(self, subsystem: str) -> Controller | None:
        names = (name for name in self._tree.names(subsystem) if _CONTROLLER.fullmatch(name))
        return next((found for name in names if (found := self._find(name)) is not None), None)

    def read_state(self, controller: str) -> str:
        """`live`, `connecting`, …; NotFound once it is gone."""
        return self._tree.read(f"{_CONTROLLERS}/{controller}/state")

    def disconnect(self, nqn: str, *, timeout: float = 20.0) -> None:
        """Delete every controller of this subsystem; what it held fails. Repeatable.

        TimedOut while the kernel waits for something below; a repeat goes on waiting for the same.
        """
        for controller in self.list_controllers(nqn):
            if controller.nqn == nqn:
                self.delete_controller(controller.name, timeout=timeout)

    def delete_controller(self, controller: str, *, timeout: float = 20.0) -> None:
        """Repeatable. The write goes through a thread, which may block."""
        self._blocking.call(f"delete {controller}", lambda: self._delete(controller), timeout=timeout)

    def stop_holding(self, controller: str) -> None:
        """From the next loss of its connection on, what this controller holds fails at once. Repeatable.

        Only for a member that the record no longer counts. The timer starts when the controller goes from
        resetting to connecting (nvme_start_failfast_work), so the connection has to break after this.
        """
        self.hold_for(controller, 0)

    def hold_for(self, controller: str, seconds: int) -> None:
        """Keep what it cannot send for so long from the loss of its connection on; -1: for ever, as at first.

        Only for a member that no array has, or that the record no longer counts.
        """
        self._tree.write(f"{_CONTROLLERS}/{controller}/fast_io_fail_tmo", seconds)

    def break_own(self, controller: str, address: str, port: int) -> bool:
        """End the connection of a live controller that answers at once, and no other's.

        False when nobody can tell which is its own. The end of its admin queue's is the end of all that it
        has: nvme_tcp_state_change begins the recovery of the whole controller before the kernel returns here.
        """
        for _ in range(_QUESTIONS):
            if self.read_state(controller) != "live":
                return False
            own = self._find_own(controller, address, port)
            if own is not None:
                sockets.break_connection(own)
                if self.read_state(controller) != "live":
                    return True
        return False

    def _find_own(self, controller: str, address: str, port: int) -> sockets.Connection | None:
        """TimedOut where it does not answer, or what the kernel refuses."""
        length = choose_length(next(self._asked))
        ask = partial(self._admin.ask, controller, length, _ANSWERS_WITHIN)
        wait = partial(self._blocking.call, f"ask {controller}", ask, timeout=_ANSWERS_WITHIN)
        return sockets.find_asked(address, port, wait, count_answer_bytes(length))

    def has_authentication(self) -> bool:
        """Whether the kernel was built with NVME_HOST_AUTH."""
        return "dhchap_secret" in self._fabrics.options()

    def _delete(self, controller: str) -> None:
        """What has never been started cannot be deleted (nvme_sysfs_delete): it starts, or goes by itself.

        An agent that is killed while it connects leaves such a one.
        """
        wait_until(
            lambda: self._is_deleted(controller),
            f"{controller} to be started, so that it can be deleted",
            timeout=_START_TIMEOUT,
            clock=self._clock,
        )

    def _is_deleted(self, controller: str) -> bool:
        try:
            self._tree.write(f"{_CONTROLLERS}/{controller}/delete_controller", 1)
        except NotFound:
            return True
        except KernelError as error:
            if errno_of(error) == errno.EBUSY:
                return False
            raise
        return True

    def _find(self, name: str) -> Controller | None:
        base = f"{_CONTROLLERS}/{name}"
        try:
            if self._tree.read(f"{base}/transport") != "tcp":
                return None
            return Controller(
                name=name,
                nqn=self._tree.read(f"{base}/subsysnqn"),
                state=self._tree.read(f"{base}/state"),
                address=self._tree.read(f"{base}/address"),
                host_nqn=self._tree.read(f"{base}/hostnqn"),
            )
        except NotFound:
            return None


def _check(there: Controller, asked: Connection) -> None:
    endpoint = {f"traddr={asked.address}", f"trsvcid={asked.port}"}
    if there.host_nqn != asked.host_nqn or not endpoint <= set(there.address.split(",")):
        raise FailedPrecondition(
            f"{asked.nqn} is connected as {there.name} for {there.host_nqn} at {there.address}, "
            f"not for {asked.host_nqn} at {asked.address}:{asked.port}"
        )
