"""Outside: a volume over three nodes, its record, and what its replicas' disks really hold."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import BinaryIO

from hack.checker.blocks import BLOCK_BYTES, decode
from replication.layout import DATA_OFFSET_BYTES
from tests.lab.hold.consumer import Plan
from tests.lab.hold.node import Node
from tests.lab.hold.writers import CHUNK_BYTES, CHUNKS_PER_WRITER, WRITERS

DATA_BYTES = WRITERS * CHUNKS_PER_WRITER * CHUNK_BYTES
REPLICA_BYTES = DATA_OFFSET_BYTES + DATA_BYTES
PORT = 4420
_numbers = itertools.count()
_ports = itertools.count(4500)


@dataclass(frozen=True, slots=True)
class Form:
    """Where the hold layers are, and whether every attachment has a TCP port of its own."""

    name: str
    local: bool = True
    remote: bool = True
    target: bool = False
    own_port: bool = False


EVERY_MEMBER = Form("every-member")
LOCAL_AND_TARGET = Form("local-and-target", remote=False, target=True, own_port=True)
LOCAL_ONLY = Form("local-only", remote=False)
NONE = Form("none", local=False, remote=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What the consumer's writers say; `state` is for people."""

    acknowledged: int
    in_flight: int
    errors: list[int]
    state: str


class Volume:
    """`record`: the names of the nodes whose replica the record calls in sync."""

    def __init__(self, name: str, form: Form, nodes: Iterable[Node]) -> None:
        self.form = form
        self.nodes = {node.name: node for node in nodes}
        self.name = f"{name}-{form.name}"
        self.start = next(_numbers) * REPLICA_BYTES
        self.record = set(self.nodes)
        self.consumer = self.nodes["m1"]
        self._devices: dict[str, str] = {}
        self._exported: dict[str, str] = {}
        self._strangers: dict[str, str] = {}
        self._epochs = itertools.count(1)

    def make(self) -> None:
        for node in self.nodes.values():
            self._devices[node.name] = node.ask(
                "make", volume=self.name, start=self.start, size=REPLICA_BYTES
            )

    def attach(self, consumer: str) -> None:
        """Replicas in sync are exported to the consumer, which assembles them; writers begin."""
        self.consumer = self.nodes[consumer]
        order = sorted(self.record, key=lambda name: (name != consumer, name))
        plans = [asdict(self.plan(name)) for name in order]
        self.consumer.ask("attach", volume=self.name, size=DATA_BYTES, plans=plans)
        self.consumer.ask("start", volume=self.name)

    def plan(self, name: str) -> Plan:
        """The member that `name` gives the consumer, newly exported if it is remote."""
        if name == self.consumer.name:
            return Plan(name, device=self._devices[name], layer=self.form.local)
        node, port = self.nodes[name], next(_ports) if self.form.own_port else PORT
        nqn = f"nqn.2026-01.io.test:{self.name}:{name}:{next(self._epochs)}"
        address = node.machine.address
        where = {"nqn": nqn, "address": address, "port": port}
        node.ask("export", volume=self.name, where=where, layer=self.form.target)
        self._exported[name] = nqn
        return Plan(name, nqn=nqn, address=address, port=port, layer=self.form.remote)

    def nqn(self, name: str) -> str:
        return self._exported[name]

    def look(self) -> Look:
        return Look(**self.consumer.ask("look", volume=self.name))

    def known(self) -> dict[int, tuple[int, int]]:
        found = self.consumer.ask("known", volume=self.name)
        return {int(index): (numbers[0], numbers[1]) for index, numbers in found.items()}

    def drop(self, names: set[str], timeout: float = 30) -> dict[str, object]:
        """Record first: `names` are stale. Then fail."""
        self.record -= names
        result: dict[str, object] = self.consumer.ask(
            "drop", volume=self.name, names=sorted(names), timeout=timeout
        )
        return result

    def bring_back(self, name: str, speed: int, *, dropped_here: bool = True) -> int:
        """A recovery by bitmap has begun; how many chunks the returning replica's own bitmap had marked."""
        if dropped_here:
            self.consumer.ask("forget", volume=self.name, name=name)
        self.end_export(name)
        self.remake(name)
        plan = asdict(self.plan(name))
        own: int = self.consumer.ask("rejoin", volume=self.name, plan=plan, speed=speed)
        return own

    def export_to_stranger(self, name: str) -> None:
        """Somebody else uses the same port: it goes on listening when our export is gone."""
        self._strangers[name] = f"{self._exported[name]}:stranger"
        where = {"nqn": self._strangers[name], "address": self.nodes[name].machine.address, "port": PORT}
        self.nodes[name].ask("export", volume=self.name, where=where, layer=False)

    def end_export(self, name: str) -> None:
        for exported in (self._exported, self._strangers):
            if name in exported:
                self.nodes[name].ask("fence", nqn=exported.pop(name), volume=self.name)

    def remake(self, name: str) -> None:
        """The replica's device, anew: its machine may have booted, its disk may have been away."""
        node = self.nodes[name]
        self._devices[name] = node.ask("remake", volume=self.name, start=self.start, size=REPLICA_BYTES)

    def finish(self, name: str) -> None:
        """The recovery has ended: the record may count it again."""
        self.record |= {name}
        self.consumer.ask("finish", volume=self.name, degraded=len(self.nodes) - len(self.record))

    def detach(self) -> None:
        self.consumer.ask("detach", volume=self.name)
        for name in tuple(self._exported):
            self.end_export(name)

    def count_missing(self, known: Mapping[int, tuple[int, int]], names: Iterable[str]) -> int:
        """Blocks that are older on one of these replicas' disks than what was acknowledged."""
        return sum(self._read_number(name, i) < done for name in names for i, (done, _) in known.items())

    def _read_number(self, name: str, index: int) -> int:
        with self._open(name) as disk:
            disk.seek(self.start + DATA_OFFSET_BYTES + index * BLOCK_BYTES)
            block = decode(disk.read(BLOCK_BYTES))
        return 0 if block is None else block.number

    def count_different(self) -> int:
        """Replicas whose data is not that of the first."""
        digests = [self._digest(name) for name in sorted(self.nodes)]
        return sum(digest != digests[0] for digest in digests)

    def _digest(self, name: str) -> str:
        digest = hashlib.blake2b()
        with self._open(name) as disk:
            disk.seek(self.start + DATA_OFFSET_BYTES)
            for _ in range(DATA_BYTES >> 20):
                digest.update(disk.read(1 << 20))
        return digest.hexdigest()

    def _open(self, name: str) -> BinaryIO:
        """The file behind a machine's disk: QEMU writes it through the host's page cache."""
        return self.nodes[name].machine.hardware.disks[0].open("rb")
