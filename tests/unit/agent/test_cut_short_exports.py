"""An agent is killed between two steps of making a replica ready for an epoch, or of ending that."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from replication import layout
from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.kernel import header
from replication.kernel.direct import write_direct
from replication.kernel.header import Header, read_header, write_header
from replication.kernel.nvmet import Nvmet
from replication.model import Consumer, Prepared, PrepareSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.mortal_kernel import Life
from tests.unit.agent.test_fencing import VOLUME, on_one_place
from tests.unit.kernel.fake_nvmet import ROOT, FakeNvmet

PREPARING = range(24)
ENDING = range(14)


class MortalNvmet(FakeNvmet):
    def __init__(self, root: Path) -> None:
        self.life = Life()
        super().__init__(root)

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        self.life.spend(1)
        super().write(name, value, secret=secret)

    def make_directory(self, name: str) -> None:
        self.life.spend(int(not self.exists(name)))
        super().make_directory(name)

    def remove_directory(self, name: str) -> None:
        self.life.spend(int(self.exists(name)))
        super().remove_directory(name)

    def link(self, name: str, target: str) -> None:
        self.life.spend(int(not self.exists(name)))
        super().link(name, target)

    def unlink(self, name: str) -> None:
        self.life.spend(int(self.exists(name)))
        super().unlink(name)


class Stand:
    def __init__(self, tree: MortalNvmet, machine: Machine, device: str) -> None:
        self.tree, self.machine, self.device = tree, machine, device

    def start(self) -> Replicas:
        """A new agent, as agent/main.py begins it."""
        self.machine.target.remove_unused_hosts("nqn.")
        return on_one_place(self.machine, self.device)

    def kill(self, act: Callable[[], object], steps: int) -> None:
        self.tree.life.cut_short(act, steps)

    def list_left(self) -> list[str]:
        kinds = ("subsystems", "hosts")
        return [f"{kind}/{name}" for kind in kinds for name in self.tree.names(f"{ROOT}/{kind}")]

    def check_exported(self, made: Prepared) -> None:
        assert made.target is not None
        (export,) = self.machine.target.list_exports()
        assert (export.nqn, export.enabled, export.device) == (made.target.nqn, True, self.device)
        assert export.host_nqns == (made.target.host_nqn,)
        assert export.ports == ((self.machine.data_address, self.machine.data_port),)
        host = f"{ROOT}/hosts/{made.target.host_nqn}"
        assert self.tree.read(f"{host}/dhchap_key") == made.target.host_key
        assert self.tree.read(f"{host}/dhchap_ctrl_key") == made.target.controller_key
        assert self.tree.names(f"{ROOT}/hosts") == (made.target.host_nqn,)
        assert self.tree.read(f"{ROOT}/subsystems/{export.nqn}/attr_model") == "Trilith"
        assert len(self.tree.names(f"{ROOT}/ports")) == 1


def prepare(replicas: Replicas, epoch: int, version: int, key: str = "k") -> Prepared:
    who = Consumer(f"nqn.host:{epoch}", f"{key}1", f"{key}2")
    return replicas.prepare(PrepareSpec(VOLUME, "r1", epoch, version, who))


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    tree = MortalNvmet(tmp_path)
    tree.add_block_device("dm-3", "253:3", 1 << 20)
    device = tree.path("/dev/r1")
    tree.numbers[str(device)] = "253:3"
    device.write_bytes(bytes(layout.HEADER_AREA_BYTES))
    write_header(str(device), Header("lab", VOLUME, "r1", 1, 3, 7, 1 << 20, 65536))

    def write(path: str, offset: int, data: bytes) -> None:
        tree.life.spend(1)
        write_direct(path, offset, data)

    monkeypatch.setattr(header, "write_direct", write)
    machine = replace(fake_machine(tree), boot_id="aaaaaaaa", target=Nvmet(tree))
    return Stand(tree, machine, str(device))


@pytest.mark.parametrize("steps", PREPARING)
@pytest.mark.parametrize(
    ("epoch", "version", "key"), [(4, 8, "k"), (4, 9, "j"), (5, 9, "j")], ids=["call", "attempt", "epoch"]
)
def test_what_was_made_ready_by_half_is_made_ready(
    stand: Stand, steps: int, epoch: int, version: int, key: str
) -> None:
    """By a repeat of the call; or, with other keys, by another attempt or epoch."""
    replicas = stand.start()
    stand.kill(lambda: prepare(replicas, 4, 8), steps)
    stand.check_exported(prepare(stand.start(), epoch, version, key))
    assert read_header(stand.device).epoch == epoch


@pytest.mark.parametrize("steps", PREPARING)
def test_what_was_made_ready_by_half_is_let_go_whole(stand: Stand, steps: int) -> None:
    replicas = stand.start()
    stand.kill(lambda: prepare(replicas, 4, 8), steps)
    stand.start().release(VOLUME, "r1", 4)
    assert stand.list_left() == []


@pytest.mark.parametrize("steps", ENDING)
def test_an_export_that_was_ended_by_half_is_ended_whole(stand: Stand, steps: int) -> None:
    replicas = stand.start()
    prepare(replicas, 4, 8)
    stand.kill(lambda: replicas.release(VOLUME, "r1", 4), steps)
    stand.start().release(VOLUME, "r1", 4)
    assert stand.list_left() == []


@pytest.mark.parametrize("steps", range(40))
def test_a_replica_that_changes_epoch_by_half_has_one_export_afterwards(stand: Stand, steps: int) -> None:
    replicas = stand.start()
    prepare(replicas, 4, 8)
    stand.kill(lambda: prepare(replicas, 5, 9, "j"), steps)
    assert len(stand.machine.target.list_exports()) <= 1
    stand.check_exported(prepare(stand.start(), 6, 10, "i"))
