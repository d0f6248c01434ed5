"""An agent is killed between two steps of making, growing or removing a replica."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from replication.agent.machine import Machine
from replication.agent.replicas import Replicas
from replication.agent.storage import Storage
from replication.agent.wiping import IDLE_PAUSE, Wiper, Wiping
from replication.kernel import direct, header
from replication.kernel.direct import BLOCK_BYTES
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Command
from replication.kernel.nvmet import Nvmet
from replication.kernel.run import NOTHING
from replication.kernel.wholes import FOLDER, Wholes
from replication.model import PrepareSpec, ReplicaSpec
from tests.unit.agent.fake_disk import Node
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.mortal_kernel import CHANGES, Life
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_nvmet import FakeNvmet

MIB = 1 << 20
VOLUME, REPLICA = "v00000000000000aa", "r0"
SIZE, LARGER = 64 * MIB, 128 * MIB
STEPS = range(14)
READING = ("vgs", "lvs", "pvs")


class MortalNode(Node):
    """Its disk remembers what was written to it, wherever a logical volume is called by now."""

    def __init__(self, root: Path, disks: int) -> None:
        super().__init__(root, disks)
        self.life = Life()
        self.mapped = Mapped(self)
        self.wholes = Wholes(DeviceMapper(self.mapped), self)
        for number in range(disks):
            self.put(f"/sys/class/block/nvme{number}n1/stat", " ".join(11 * ["0"]))
        for minor in range(9):
            self.add_block_device(f"dm-{minor}", f"253:{minor}", 0)
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

    def device_number(self, name: str) -> str:
        whole = name.rpartition("/")[2]
        if name.startswith(f"{FOLDER}/") and whole in self.mapped.devices:
            return f"253:{self.mapped.devices[whole].minor}"
        return super().device_number(name)

    def _find(self, path: str, offset: int) -> tuple[dict[int, bytes], int]:
        """The beginning of a whole lies on its first part, behind that part's own area."""
        *_, group, name = path.split("/")
        if not path.startswith(f"{FOLDER}/"):
            return self.blocks[self.lvm.groups[group].volumes[name].minor], offset
        target = self.mapped.devices[name].targets[0]
        number, begin = target.parameters.split()[0 if target.kind == "linear" else 2 :][:2]
        return self.blocks[int(number.partition(":")[2])], offset + int(begin) * 512

    def read_block(self, path: str, offset: int, length: int) -> bytes:
        blocks, place = self._find(path, offset)
        return blocks.get(place, bytes(BLOCK_BYTES))[:length]

    def write_block(self, path: str, offset: int, data: bytes) -> None:
        self.life.spend(1)
        blocks, place = self._find(path, offset)
        blocks[place] = data

    def zero(self, path: str, begin: int, length: int) -> None:
        """Of a whole only what lies on its first part: nothing else is ever written to here."""
        self.life.spend(1)
        blocks, place = self._find(path, begin)
        for offset in [each for each in blocks if place <= each < place + length]:
            del blocks[offset]


class Mapped(FakeControl):
    """Its devices show the size of the table that is in force."""

    def __init__(self, node: "MortalNode") -> None:
        super().__init__()
        self._node = node

    def ioctl(self, request: int, buffer: bytearray) -> None:
        self._node.life.spend(int(request & 0xFF in {command.value for command in CHANGES}))
        super().ioctl(request, buffer)
        if request & 0xFF == Command.SUSPEND.value:
            for device in self.devices.values():
                sectors = str(sum(target.sectors for target in device.targets))
                self._node.put(f"/sys/class/block/dm-{device.minor}/size", sectors)


class Stand:
    def __init__(self, node: MortalNode, machine: Machine, striped: bool) -> None:
        self.node, self.machine, self.striped = node, machine, striped

    def start(self) -> Replicas:
        """A new agent."""
        self.storage = Storage(self.node, self.node.run, self.node, self.node.wholes)
        wiping = Wiping(self.machine, self.storage, self.node.zero)
        replicas = Replicas(self.machine, self.storage, wiping)
        replicas.take_up_discarded()
        return replicas

    def kill(self, act: Callable[[], object], steps: int) -> None:
        self.node.life.cut_short(act, steps)

    def wipe(self) -> None:
        for group in self.storage.list_volume_groups():
            wiper = Wiper(self.machine, self.storage, group, self.node.zero)
            while wiper.step() != IDLE_PAUSE:
                pass

    @property
    def spec(self) -> ReplicaSpec:
        first, *others = [group.name for group in self.storage.list_volume_groups()]
        return ReplicaSpec(VOLUME, REPLICA, first, SIZE, 65536, tuple(others), striped=self.striped)

    def free(self) -> list[int]:
        return [group.free_bytes for group in self.storage.list_volume_groups()]


@pytest.fixture(params=[(1, False), (2, True)], ids=["whole", "striped"])
def stand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    disks, striped = request.param
    node = MortalNode(tmp_path / "node", disks)
    monkeypatch.setattr(header, "read_direct", node.read_block)
    monkeypatch.setattr(header, "write_direct", node.write_block)
    monkeypatch.setattr(direct, "zero_range", node.zero)
    target = Nvmet(FakeNvmet(tmp_path / "target"))
    machine = replace(fake_machine(node), runner=node.run, clock=node, target=target, wholes=node.wholes)
    made = Stand(node, machine, striped)
    made.start()
    made.storage.ensure_pool("fast", tuple(f"/dev/nvme{number}n1" for number in range(disks)))
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
