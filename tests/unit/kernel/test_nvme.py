import errno
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, KernelError, NotFound, TimedOut, Unavailable
from replication.kernel import sockets
from replication.kernel.nvme import Connection, FabricsNode, NvmeHost, format_options, parse_answer, redact
from replication.kernel.sysfs import refuse
from tests.unit.kernel.fake_tree import FakeTree

CONNECTION = Connection(
    nqn="nqn.2026-01.io.trilith:v1:r2:e7", address="10.0.0.1", port=4420,
    host_nqn="nqn.2026-01.io.trilith:a7",
    host_key="DHHC-1:00:aaaa:", controller_key="DHHC-1:00:bbbb:",
)  # fmt: skip


class FakeHost(FakeTree):
    """The host side of nvme-tcp: connecting makes a controller and, in the subsystem, a namespace."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.path("/sys/class/nvme").mkdir(parents=True)
        self.path("/sys/class/nvme-subsystem").mkdir(parents=True)
        self.answers = threading.Event()
        self.answers.set()
        self.deleted = threading.Event()
        self.asked: list[str] = []
        self.refuse = ""
        self.unstarted = 0  # times that a controller's deletion is refused since it has not been started

    def reach(self, address: str, port: int, timeout: float) -> None:
        assert timeout <= 3
        if address == "10.0.0.66":
            raise TimedOut(f"{address}:{port} does not answer")

    def connect(self, options: str) -> str:
        self.asked.append(options)
        self.answers.wait(20)
        if self.refuse:
            raise KernelError(f"connect {redact(options)}: {self.refuse}")
        values = dict(word.split("=", 1) for word in options.split(","))
        self.add(
            3,
            "tcp",
            values["nqn"],
            values["hostnqn"],
            f"traddr={values['traddr']},trsvcid={values['trsvcid']}",
        )
        return "instance=3,cntlid=1\n"

    def options(self) -> str:
        return "instance=-1,cntlid=-1,transport=%s,traddr=%s,dhchap_secret=%s,dhchap_ctrl_secret=%s"

    def add(self, instance: int, transport: str, nqn: str, host_nqn: str, address: str) -> None:
        base = f"/sys/class/nvme/nvme{instance}"
        subsystem = f"/sys/class/nvme-subsystem/nvme-subsys{instance}"
        self.lay(
            {
                f"{base}/transport": transport, f"{base}/subsysnqn": nqn, f"{base}/hostnqn": host_nqn,
                f"{base}/state": "live", f"{base}/address": f"{address},src_addr=10.0.0.2",
                f"{base}/delete_controller": "", f"{subsystem}/subsysnqn": nqn,
                f"{subsystem}/nvme{instance}c{instance}n1/x": "", f"{subsystem}/nvme{instance}/x": "",
                f"{subsystem}/nvme{instance}n1/x": "", f"/dev/nvme{instance}n1": "",
            }
        )  # fmt: skip
        self.path(f"/sys/class/block/nvme{instance}n1").mkdir(parents=True)
        self.path(f"/sys/class/block/nvme{instance}n1/device").symlink_to(self.path(subsystem))

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        super().write(name, value, secret=secret)
        assert name.endswith("/delete_controller")
        if self.unstarted:
            self.unstarted -= 1
            refuse(f"write {value} to {name}", OSError(errno.EBUSY, "Device or resource busy"))
        self.answers.wait(20)
        instance = name.split("/")[-2].removeprefix("nvme")
        for gone in (f"/sys/class/nvme/nvme{instance}", f"/sys/class/nvme-subsystem/nvme-subsys{instance}"):
            for path in sorted(self.path(gone).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            self.path(gone).rmdir()
        self.deleted.set()


@pytest.fixture
def kernel(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def host(kernel: FakeHost) -> NvmeHost:
    return NvmeHost(kernel, kernel)


def test_requests_wait_for_ever_when_a_path_is_lost() -> None:
    options = format_options(CONNECTION).split(",")
    assert "ctrl_loss_tmo=-1" in options
    assert not any(option.startswith("fast_io_fail_tmo") for option in options)
    assert {"keep_alive_tmo=5", "reconnect_delay=1", "nr_io_queues=2", "transport=tcp"} <= set(options)


def test_the_host_id_belongs_to_the_host_nqn() -> None:
    def host_id(connection: Connection) -> str:
        return dict(word.split("=", 1) for word in format_options(connection).split(","))["hostid"]

    assert host_id(CONNECTION) == host_id(replace(CONNECTION, nqn="other"))
    assert host_id(CONNECTION) != host_id(replace(CONNECTION, host_nqn="other"))


def test_keys_are_in_no_message_and_no_representation() -> None:
    assert "DHHC" in format_options(CONNECTION)
    assert "DHHC" not in redact(format_options(CONNECTION))
    assert "DHHC" not in repr(CONNECTION)


def test_without_keys_none_are_sent() -> None:
    assert "dhchap" not in format_options(replace(CONNECTION, host_key="", controller_key=""))


def test_the_controller_behind_a_device_is_found(host: NvmeHost, kernel: FakeHost) -> None:
    kernel.add(0, "pcie", "nqn.2019-08.org.qemu:disk0", "", "0000:00:06.0")
    assert host.find_controller_of(host.ensure_connected(CONNECTION)) == host.find_controller(CONNECTION.nqn)
    assert host.find_controller_of("nvme0n1") is None
    assert host.find_controller_of("dm-3") is None


def test_connecting_is_repeatable_and_names_the_subsystems_device(host: NvmeHost, kernel: FakeHost) -> None:
    for _ in range(2):
        assert host.ensure_connected(CONNECTION) == "nvme3n1"
    assert len(kernel.asked) == 1
    controller = host.find_controller(CONNECTION.nqn)
    assert controller is not None
    assert (controller.name, controller.live) == ("nvme3", True)
    assert host.read_state("nvme3") == "live"


@pytest.mark.parametrize("change", [{"host_nqn": "other"}, {"address": "10.0.0.9"}, {"port": 4421}])
def test_a_connection_for_somebody_else_is_refused(host: NvmeHost, change: dict[str, str]) -> None:
    host.ensure_connected(CONNECTION)
    with pytest.raises(FailedPrecondition, match="is connected as nvme3"):
        host.ensure_connected(replace(CONNECTION, **change))  # type: ignore[arg-type]


def test_a_refusal_says_what_the_kernel_said(host: NvmeHost, kernel: FakeHost) -> None:
    kernel.refuse = "Required key not available"
    with pytest.raises(KernelError, match="Required key not available") as caught:
        host.ensure_connected(CONNECTION)
    assert "DHHC" not in str(caught.value)


def test_a_dead_address_is_found_out_without_the_kernel(host: NvmeHost, kernel: FakeHost) -> None:
    """The kernel connects to one target at a time: a dead one would keep all others waiting."""
    with pytest.raises(TimedOut, match=r"10\.0\.0\.66:4420 does not answer"):
        host.ensure_connected(replace(CONNECTION, address="10.0.0.66"))
    assert kernel.asked == []


def test_a_connection_that_comes_late_is_taken_down(host: NvmeHost, kernel: FakeHost) -> None:
    kernel.answers.clear()
    with pytest.raises(TimedOut, match=r"connect to .* at 10\.0\.0\.1:4420"):
        host.ensure_connected(CONNECTION, timeout=0.05)
    kernel.answers.set()
    assert kernel.deleted.wait(5)
    assert host.list_controllers() == ()


def test_reaching_says_why_it_did_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        FabricsNode().reach("127.0.0.1", server.getsockname()[1], 5)
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match="Connection refused"):
        FabricsNode().reach("127.0.0.1", port, 5)


def test_only_network_controllers_of_ours_are_listed(host: NvmeHost, kernel: FakeHost) -> None:
    kernel.add(0, "pcie", "nqn.2019-08.org.qemu:disk0", "", "0000:00:06.0")
    kernel.add(1, "tcp", "nqn.somebody", "h", "traddr=1.2.3.4,trsvcid=1")
    host.ensure_connected(CONNECTION)
    assert [each.name for each in host.list_controllers("nqn.2026-01.io.trilith:")] == ["nvme3"]


def test_disconnecting_is_repeatable(host: NvmeHost) -> None:
    host.ensure_connected(CONNECTION)
    for _ in range(2):
        host.disconnect(CONNECTION.nqn)
    assert host.list_controllers() == ()
    with pytest.raises(NotFound):
        host.get_namespace(CONNECTION.nqn)
    with pytest.raises(NotFound):
        host.read_state("nvme3")


def test_a_controller_that_does_not_go_times_out_until_it_does(host: NvmeHost, kernel: FakeHost) -> None:
    host.ensure_connected(CONNECTION)
    kernel.answers.clear()
    for _ in range(2):
        with pytest.raises(TimedOut, match="delete nvme3"):
            host.disconnect(CONNECTION.nqn, timeout=0.05)
    kernel.answers.set()
    host.disconnect(CONNECTION.nqn, timeout=5)
    assert host.list_controllers() == ()


def test_a_controller_that_an_agent_was_killed_over_goes_once_it_has_started(
    host: NvmeHost, kernel: FakeHost
) -> None:
    host.ensure_connected(CONNECTION)
    kernel.unstarted = 1 << 30
    with pytest.raises(TimedOut, match="delete nvme3"):
        host.disconnect(CONNECTION.nqn, timeout=0.2)
    kernel.unstarted = 1
    host.disconnect(CONNECTION.nqn, timeout=5)
    assert host.list_controllers() == ()


def test_authentication_is_seen_in_the_kernels_options(host: NvmeHost) -> None:
    assert host.has_authentication()


def test_an_answer_without_an_instance_is_an_error() -> None:
    assert parse_answer("instance=12,cntlid=3\n") == "nvme12"
    with pytest.raises(KernelError):
        parse_answer("")


class Asked:
    """Controllers whose own connection, among some to one peer, receives the answer."""

    def __init__(self, kernel: FakeHost) -> None:
        self._kernel = kernel
        self.lengths: list[int] = []
        self.beside = 0  # answers that another comes along with, which cannot be told apart
        self.silent = threading.Event()
        self.silent.set()
        self.broken: list[str] = []

    def ask(self, controller: str, length: int, timeout: float) -> None:
        self.lengths.append(length)
        self.silent.wait(20)

    def find(
        self, peer: str, port: int, ask: Callable[[], None], answer_bytes: int
    ) -> sockets.Connection | None:
        ask()
        assert answer_bytes == 48 + self.lengths[-1]
        self.beside -= 1
        return None if self.beside >= 0 else sockets.Connection(peer, port, b"own")

    def end(self, connection: sockets.Connection) -> None:
        self.broken.append(connection.peer)
        self._kernel.lay({"/sys/class/nvme/nvme3/state": "resetting"})


@pytest.fixture
def asked(kernel: FakeHost, monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked(kernel)
    monkeypatch.setattr(sockets, "find_asked", made.find)
    monkeypatch.setattr(sockets, "break_connection", made.end)
    kernel.add(3, "tcp", CONNECTION.nqn, CONNECTION.host_nqn, "traddr=10.0.0.1,trsvcid=4420")
    return made


@pytest.mark.parametrize(("beside", "questions", "found"), [(0, 1, True), (1, 2, True), (2, 2, False)])
def test_a_live_controllers_own_connection_is_broken_alone(
    kernel: FakeHost, asked: Asked, beside: int, questions: int, found: bool
) -> None:
    """Once more when an answer cannot be told from another, by another length."""
    asked.beside = beside
    host = NvmeHost(kernel, kernel, admin=asked)
    assert host.break_own("nvme3", "10.0.0.1", 4420) is found
    assert len(set(asked.lengths)) == questions
    assert asked.broken == (["10.0.0.1"] if found else [])


@pytest.mark.parametrize("state", ["connecting", "resetting", "deleting"])
def test_a_controller_that_is_not_live_is_not_asked(kernel: FakeHost, asked: Asked, state: str) -> None:
    kernel.lay({"/sys/class/nvme/nvme3/state": state})
    assert not NvmeHost(kernel, kernel, admin=asked).break_own("nvme3", "10.0.0.1", 4420)
    assert asked.lengths == []


def test_a_controller_that_does_not_answer_is_not_waited_for(kernel: FakeHost, asked: Asked) -> None:
    asked.silent.clear()
    with pytest.raises(TimedOut, match="ask nvme3"):
        NvmeHost(kernel, kernel, admin=asked).break_own("nvme3", "10.0.0.1", 4420)
    asked.silent.set()
    assert asked.broken == []


def test_a_controller_that_is_live_still_was_not_the_one_that_broke(
    kernel: FakeHost, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "break_connection", lambda _: None)
    assert not NvmeHost(kernel, kernel, admin=asked).break_own("nvme3", "10.0.0.1", 4420)


def test_a_controller_that_is_connected_again_already_is_broken_again(
    kernel: FakeHost, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(connection: sockets.Connection) -> None:
        asked.end(connection)
        if asked.broken == ["10.0.0.1"]:
            kernel.lay({"/sys/class/nvme/nvme3/state": "live"})

    monkeypatch.setattr(sockets, "break_connection", end)
    assert NvmeHost(kernel, kernel, admin=asked).break_own("nvme3", "10.0.0.1", 4420)
    assert asked.broken == ["10.0.0.1"] * 2


def test_without_nvme_tcp_the_node_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nvme-fabrics"):
        FabricsNode(str(tmp_path / "nvme-fabrics")).options()
