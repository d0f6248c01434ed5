"""The NVMe/TCP target in configfs: replicas made reachable for one attachment, and fenced.

Source: Documentation/nvme and drivers/nvme/target/configfs.c; what was tried is in docs: data plane.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from replication.clock import Clock, SystemClock, wait_until
from replication.errors import FailedPrecondition
from replication.kernel.deadline import Blocking
from replication.kernel.sysfs import Tree

ROOT = "/sys/kernel/config/nvmet"
_MODEL = "Trilith"


@dataclass(frozen=True, slots=True)
class Export:
    """One replica for one consumer. The NQN is of one epoch and boot, the host NQN of one attachment."""

    nqn: str
    device: str  # path of a node
    host_nqn: str
    address: str  # IPv4 that the target listens on
    port: int
    namespace_uuid: str
    host_key: str = field(default="", repr=False)  # "" where the kernel has no authentication
    controller_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ExportState:
    """What configfs says of a subsystem."""

    nqn: str
    device: str
    namespace_uuid: str
    enabled: bool
    host_nqns: tuple[str, ...]
    ports: tuple[tuple[str, int], ...]  # address, TCP port


class Nvmet:
    """The target of this machine. Safe to call from several threads."""

    def __init__(
        self,
        tree: Tree,
        blocking: Blocking | None = None,
        is_open: Callable[[str], bool] = lambda _: False,
        clock: Clock | None = None,
    ) -> None:
        """`is_open(device)`: whether anybody has it open (`DeviceMapper.is_open`); see `fence`."""
        self._tree = tree
        self._blocking = blocking or Blocking()
        self._is_open = is_open
        self._clock = clock or SystemClock()
        self._ports_lock = threading.Lock()

    def ensure_export(self, export: Export) -> None:
        """Repeatable. FailedPrecondition when an export of this NQN differs; the message says in what.

        The link from the port comes last: nothing is reachable before everything is set.
        """
        self._ensure_subsystem(export)
        self._ensure_host(export)
        self._ensure_namespace(export)
        port = self._ensure_port(export.address, export.port)
        self._tree.link(f"{ROOT}/ports/{port}/subsystems/{export.nqn}", _subsystem(export.nqn))

    def _ensure_host(self, export: Export) -> None:
        path = f"{ROOT}/hosts/{export.host_nqn}"
        self._tree.make_directory(path)
        for attribute, key in (("dhchap_key", export.host_key), ("dhchap_ctrl_key", export.controller_key)):
            if key:
                self._ensure_key(f"{path}/{attribute}", key)
        self._tree.link(f"{_subsystem(export.nqn)}/allowed_hosts/{export.host_nqn}", path)

    def _ensure_key(self, path: str, key: str) -> None:
        there = self._tree.read(path)
        if there and there != key:
            raise FailedPrecondition(f"{path} holds another key: an attachment's keys never change")
        if not there:
            self._tree.write(path, key, secret=True)

    def _ensure_subsystem(self, export: Export) -> None:
        path = _subsystem(export.nqn)
        self._tree.make_directory(path)
        named = self._tree.read(f"{path}/attr_model") == _MODEL
        if not named and not self._tree.names(f"{path}/namespaces"):  # else somebody may know it by now
            self._tree.write(f"{path}/attr_model", _MODEL)
        if self._tree.read(f"{path}/attr_allow_any_host") != "0":
            self._tree.write(f"{path}/attr_allow_any_host", 0)
        strangers = set(self._tree.names(f"{path}/allowed_hosts")) - {export.host_nqn}
        if strangers:
            raise FailedPrecondition(f"{export.nqn} is exported to {', '.join(sorted(strangers))} already")

    def _ensure_namespace(self, export: Export) -> None:
        path = _namespace(export.nqn)
        self._tree.make_directory(path)
        if self._tree.read(f"{path}/enable") == "0":
            self._tree.write(f"{path}/device_path", export.device)
            self._tree.write(f"{path}/device_uuid", export.namespace_uuid)
            self._tree.write(f"{path}/enable", 1)
            return
        there = (self._tree.read(f"{path}/device_path"), self._tree.read(f"{path}/device_uuid"))
        if there != (export.device, export.namespace_uuid):
            raise FailedPrecondition(
                f"{export.nqn} exports {there}, not {(export.device, export.namespace_uuid)}"
            )

    def _ensure_port(self, address: str, port: int) -> str:
        with self._ports_lock:
            taken = self._tree.names(f"{ROOT}/ports")
            for number in taken:
                if self._endpoint(number) == (address, port):
                    return number
            begun = (each for each in taken if self._is_begun(f"{ROOT}/ports/{each}"))
            fresh = (str(each) for each in range(1, 65536) if str(each) not in taken)
            number = next(chain(begun, fresh))
            self._make_port(f"{ROOT}/ports/{number}", address, port)
            return number

    def _is_begun(self, path: str) -> bool:
        """Whoever made it was killed before it had its address, which comes last."""
        ours = self._tree.read(f"{path}/addr_trtype") in {"", "tcp"}
        return (
            ours and not self._tree.read(f"{path}/addr_traddr") and not self._tree.names(f"{path}/subsystems")
        )

    def _make_port(self, path: str, address: str, port: int) -> None:
        self._tree.make_directory(path)
        self._tree.write(f"{path}/addr_trtype", "tcp")
        self._tree.write(f"{path}/addr_adrfam", "ipv4")
        self._tree.write(f"{path}/addr_trsvcid", port)
        self._tree.write(f"{path}/addr_traddr", address)

    def _endpoint(self, number: str) -> tuple[str, int]:
        base = f"{ROOT}/ports/{number}"
        service = self._tree.read(f"{base}/addr_trsvcid")
        return self._tree.read(f"{base}/addr_traddr"), int(service) if service.isdigit() else 0

    def fence(self, nqn: str, *, timeout: float = 30.0) -> None:
        """When it returns, no command sent to this NQN can reach the disk any more, and the export is gone.

        Repeatable. TimedOut while the disk has not ended what was under way; that is *not fenced*, and a
        repeat goes on waiting for the same. Unlinking alone would not do: accepted commands can still reach
        the disk. Nor would `enable`, which reads 0 from the start of the draining: an agent that took over
        from one that was killed meanwhile sees the end of it only by the device that the target closes then.
        """
        self._blocking.call(f"fence {nqn}", lambda: self._fence(nqn, timeout), timeout=timeout)

    def _fence(self, nqn: str, timeout: float) -> None:
        path = _subsystem(nqn)
        if not self._tree.exists(path):
            return
        for port in self._tree.names(f"{ROOT}/ports"):
            self._tree.unlink(f"{ROOT}/ports/{port}/subsystems/{nqn}")
        for number in self._tree.names(f"{path}/namespaces"):
            self._end_namespace(f"{path}/namespaces/{number}", timeout)
        for host in self._tree.names(f"{path}/allowed_hosts"):
            self._tree.unlink(f"{path}/allowed_hosts/{host}")
            self._remove_host(host)
        self._tree.remove_directory(path)

    def _end_namespace(self, path: str, timeout: float) -> None:
        device = self._tree.read(f"{path}/device_path")
        self._tree.write(f"{path}/enable", 0)
        what = f"the target to end its requests on {device}"
        wait_until(lambda: not self._is_open(device), what, timeout=timeout, clock=self._clock)
        self._tree.remove_directory(path)

    def _remove_host(self, host: str) -> None:
        if not any(host in self._tree.names(f"{_subsystem(nqn)}/allowed_hosts") for nqn in self._list_nqns()):
            self._tree.remove_directory(f"{ROOT}/hosts/{host}")

    def remove_unused_hosts(self, prefix: str) -> None:
        """Hosts that no export allows any more, left by a crash. Call it before exports are being made."""
        for host in self._tree.names(f"{ROOT}/hosts"):
            if host.startswith(prefix):
                self._remove_host(host)

    def remove_unused_ports(self) -> None:
        """Ports that nothing is linked to: they listen to nobody, but keep an old address."""
        with self._ports_lock:
            for number in self._tree.names(f"{ROOT}/ports"):
                if not self._tree.names(f"{ROOT}/ports/{number}/subsystems"):
                    self._tree.remove_directory(f"{ROOT}/ports/{number}")

    def revalidate_size(self, nqn: str) -> None:
        """Tell the consumer of the device's new size."""
        self._tree.write(f"{_namespace(nqn)}/revalidate_size", 1)

    def find_export(self, nqn: str) -> ExportState | None:
        if not self._tree.exists(_subsystem(nqn)):
            return None
        path = _namespace(nqn)
        return ExportState(
            nqn=nqn,
            device=self._tree.find(f"{path}/device_path") or "",
            namespace_uuid=self._tree.find(f"{path}/device_uuid") or "",
            enabled=self._tree.find(f"{path}/enable") == "1",
            host_nqns=self._tree.names(f"{_subsystem(nqn)}/allowed_hosts"),
            ports=tuple(
                self._endpoint(number)
                for number in self._tree.names(f"{ROOT}/ports")
                if self._tree.exists(f"{ROOT}/ports/{number}/subsystems/{nqn}")
            ),
        )

    def list_exports(self, prefix: str = "") -> tuple[ExportState, ...]:
        """All subsystems whose NQN begins with `prefix`."""
        found = [self.find_export(nqn) for nqn in self._list_nqns() if nqn.startswith(prefix)]
        return tuple(state for state in found if state is not None)

    def _list_nqns(self) -> tuple[str, ...]:
        return self._tree.names(f"{ROOT}/subsystems")

    def has_authentication(self) -> bool:
        """Whether the kernel was built with NVME_TARGET_AUTH: a host then has a `dhchap_key`."""
        probe = f"{ROOT}/hosts/nqn.2026-01.io.trilith:probe"
        self._tree.make_directory(probe)
        try:
            return self._tree.exists(f"{probe}/dhchap_key")
        finally:
            self._tree.remove_directory(probe)


def _subsystem(nqn: str) -> str:
    return f"{ROOT}/subsystems/{nqn}"


def _namespace(nqn: str) -> str:
    return f"{_subsystem(nqn)}/namespaces/1"
