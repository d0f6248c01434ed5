"""An agent is killed between two steps of making, growing or removing a replica."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Storage
from replication.agent.wiping import IDLE_PAUSE, Wiper, Wiping
from replication.kernel import direct, header
from replication.kernel.direct import BLOCK_BYTES
from replication.kernel.nvmet import Nvmet
from replication.kernel.run import NOTHING
from replication.model import PrepareSpec, ReplicaSpec
from tests.fakes.mortal import Died
from tests.unit.agent.fake_disk import DISK, Node
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.test_cut_short_attaching import Life
from tests.unit.kernel.fake_nvmet import FakeNvmet

MIB = 1 << 20
VOLUME, REPLICA = "v00000000000000aa", "r0"
SIZE, LARGER = 64 * MIB, 128 * MIB
STEPS = range(9)
READING = ("vgs", "lvs", "pvs")


class MortalNode(Node):
    """Its disk remembers what was written to it, wherever a logical volume is called by now."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.life = Life()
        self.blocks: dict[int, dict[int, bytes]] = defaultdict(dict)  # by a volume's minor number

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        self.life.spend(int(argv[0] == "lvm" and argv[1] not in READING))
        before = {minor for _, _, minor, _ in self.lvm.list_active()}
        answer = super().run(argv, timeout=timeout, stdin=stdin, environment=environment)
        for minor in before - {minor for _, _, minor, _ in self.lvm.list_active()}:
            assert not any(map(any, self.blocks.pop(minor, {}).values())), "free space holds old bytes"
        return answer

    def _find(self, path: str) -> dict[int, bytes]:
        _, _, group, name = path.split("/")
        return self.blocks[self.lvm.groups[group].volumes[name].minor]

    def read_block(self, path: str, offset: int, length: int) -> bytes:
        return self._find(path).get(offset, bytes(BLOCK_BYTES))[:length]

    def write_block(self, path: str, offset: int, data: bytes) -> None:
        self.life.spend(1)
        self._find(path)[offset] = data

    def zero(self, path: str, begin: int, length: int) -> None:
        self.life.spend(1)
        blocks = self._find(path)
        for offset in [each for each in blocks if begin <= each < begin + length]:
            del blocks[offset]


class Stand:
    def __init__(self, node: MortalNode, machine: Machine) -> None:
        self.node, self.machine = node, machine

    def start(self) -> Replicas:
        """A new agent."""
        self.storage = Storage(self.node, self.node.run, self.node, self.node.wholes)
        wiping = Wiping(self.machine, self.storage, self.node.zero)
        replicas = Replicas(self.machine, self.storage, wiping)
        replicas.take_up_discarded()
        return replicas

    def kill(self, act: Callable[[], object], steps: int) -> None:
        life = self.node.life
        life.left = steps
        with suppress(Died):
            act()
        life.left, life.dead = 10**9, False

    def wipe(self) -> None:
        for group in self.storage.list_volume_groups():
            wiper = Wiper(self.machine, self.storage, group, self.node.zero)
            while wiper.step() != IDLE_PAUSE:
                pass

    @property
    def spec(self) -> ReplicaSpec:
        (group,) = self.storage.list_volume_groups()
        return ReplicaSpec(VOLUME, REPLICA, group.name, SIZE, 65536)

    def free(self) -> int:
        (group,) = self.storage.list_volume_groups()
        return group.free_bytes


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    node = MortalNode(tmp_path / "node")
    monkeypatch.setattr(header, "read_direct", node.read_block)
    monkeypatch.setattr(header, "write_direct", node.write_block)
    monkeypatch.setattr(direct, "zero_range", node.zero)
    target = Nvmet(FakeNvmet(tmp_path / "target"))
    machine = replace(fake_machine(node), runner=node.run, clock=node, target=target)
    made = Stand(node, machine)
    made.start()
    made.storage.ensure_pool("fast", (DISK,))
    made.wipe()
    return made


def make(stand: Stand) -> Replicas:
    """Somebody was let at it, and wrote."""
    replicas = stand.start()
    replicas.ensure(stand.spec)
    replicas.prepare(PrepareSpec(VOLUME, REPLICA, 3, 7, None))
    stand.node.write_block(stand.storage.get_place(VOLUME, REPLICA).device, 32 * MIB, b"u" * BLOCK_BYTES)
    return replicas


@pytest.mark.parametrize("steps", STEPS)
def test_a_replica_made_by_half_is_made(stand: Stand, steps: int) -> None:
    replicas, free = stand.start(), stand.free()
    stand.kill(lambda: replicas.ensure(stand.spec), steps)
    replicas = stand.start()
    facts = replicas.ensure(stand.spec)
    assert (facts.size_bytes, facts.epoch, facts.suspect) == (SIZE, 0, False)
    assert replicas.list_facts() == (facts,)
    stand.wipe()
    replicas.remove(VOLUME, REPLICA)
    stand.wipe()
    assert stand.free() == free


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("used", [True, False])
def test_a_replica_removed_by_half_is_removed_and_nothing_of_it_is_left(
    stand: Stand, steps: int, used: bool
) -> None:
    replicas, free = stand.start(), stand.free()
    if used:
        replicas = make(stand)
    else:
        replicas.ensure(stand.spec)
    stand.kill(lambda: replicas.remove(VOLUME, REPLICA), steps)
    replicas = stand.start()
    for facts in replicas.list_facts():
        assert (facts.size_bytes, facts.epoch) == (SIZE, 3 if used else 0)
    replicas.remove(VOLUME, REPLICA)
    assert replicas.list_facts() == ()
    stand.wipe()
    assert stand.free() == free


@pytest.mark.parametrize("steps", STEPS)
def test_a_replica_removed_by_half_is_made_anew_of_zeroes(stand: Stand, steps: int) -> None:
    replicas = make(stand)
    stand.kill(lambda: replicas.remove(VOLUME, REPLICA), steps)
    replicas = stand.start()
    replicas.remove(VOLUME, REPLICA)
    facts = replicas.ensure(stand.spec)
    assert facts.epoch == 0
    device = stand.storage.get_place(VOLUME, REPLICA).device
    assert not any(stand.node.read_block(device, 32 * MIB, BLOCK_BYTES))
    stand.wipe()
    assert stand.start().list_facts() == (facts,)


@pytest.mark.parametrize("steps", STEPS)
def test_a_replica_wiped_by_half_is_wiped(stand: Stand, steps: int) -> None:
    free = stand.free()
    replicas = make(stand)
    replicas.remove(VOLUME, REPLICA)
    stand.kill(stand.wipe, steps)
    assert stand.start().list_facts() == ()
    stand.wipe()
    assert stand.free() == free


@pytest.mark.parametrize("steps", STEPS)
def test_a_replica_grown_by_half_grows(stand: Stand, steps: int) -> None:
    replicas = make(stand)
    stand.kill(lambda: replicas.resize(VOLUME, REPLICA, LARGER), steps)
    replicas = stand.start()
    (facts,) = replicas.list_facts()
    assert facts.size_bytes in {SIZE, LARGER}
    assert (facts.epoch, facts.record_version) == (3, 7)
    assert replicas.resize(VOLUME, REPLICA, LARGER).size_bytes == LARGER
    device = stand.storage.get_place(VOLUME, REPLICA).device
    assert any(stand.node.read_block(device, 32 * MIB, BLOCK_BYTES))
