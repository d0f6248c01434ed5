"""Nodes over the simulated kernel, as the control plane reaches them: NodeApi, and what makes calls fail.

A node has one disk, and on it at most one replica of a volume: so a replica is known to the kernel by its
node's number, and to everybody else by its id.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, Protocol, cast

from replication.errors import FailedPrecondition, KernelError, NotFound, TimedOut, TrilithError, Unavailable
from replication.model import (
    ArrayReport,
    AttachSpec,
    Confirmation,
    CopyMode,
    Limits,
    Member,
    Node,
    NodeFacts,
    Prepared,
    PrepareSpec,
    RejoinSpec,
    ReplicaFacts,
    ReplicaSpec,
    Target,
)
from replication.rpc.contract import NodeApi
from replication.tuning import Tuning
from tests.fakes.node import FakeCluster, FakeNode
from tests.simulation import agent, kernel
from tests.simulation.agent import number_of, replica_id
from tests.simulation.kernel import Array, Disk, Link, Plant, Site, Ways
from tests.simulation.refusing import is_marked


class Image(NamedTuple):
    """A disk as it was, while its machine was off: what each replica's header says, and what it holds."""

    headers: dict[tuple[str, str], ReplicaFacts]
    contents: dict[str, Disk]  # by volume


_ON_DISK = frozenset(("ensure_replica", "remove_replica", "prepare_replica", "resize_replica"))


class Wrong(AssertionError):  # noqa: N818  it is no accident of the program
    """What must never be true, is."""


@dataclass
class Machines:
    """Every volume's plant; all of them have the same site."""

    names: tuple[str, ...]
    plants: dict[str, Plant] = field(default_factory=dict)
    holders: dict[tuple[str, str], int] = field(default_factory=dict)  # volume, replica → node
    names_there: dict[tuple[str, int], str] = field(default_factory=dict)  # volume, node → newest replica
    links: dict[str, Link] = field(default_factory=dict)
    tunings: dict[tuple[str, int], Tuning] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._blank = kernel.new_plant(len(self.names), Ways())

    @property
    def site(self) -> Site:
        return self._blank.site

    def plant(self, volume_id: str) -> Plant:
        return self.plants.setdefault(volume_id, self._blank)

    def put(self, volume_id: str, plant: Plant) -> None:
        if plant.wrong:
            raise Wrong(f"{volume_id}: {plant.wrong}")
        self.plants[volume_id] = plant

    def everywhere(self, act: Callable[[Plant], Plant]) -> None:
        """What happens to a machine happens to all volumes."""
        self._blank = act(self._blank)
        for volume_id, plant in tuple(self.plants.items()):
            self.put(volume_id, act(plant))

    def place(self, volume_id: str, replica: str, node: int) -> None:
        """It is on that node's disk."""
        self.holders[volume_id, replica] = node
        self.names_there[volume_id, node] = replica

    def node_of(self, volume_id: str, replica: str) -> int:
        if (volume_id, replica) not in self.holders:
            raise NotFound(f"nobody has replica {replica} of {volume_id}")
        return self.holders[volume_id, replica]

    def told(self, volume_id: str, report: ArrayReport) -> ArrayReport:
        """The kernel's report with the names that everybody else uses: an array keeps those of lost disks."""
        members = tuple(
            replace(m, replica_id=self.names_there[volume_id, number_of(m.replica_id)])
            for m in report.members
        )
        tuning = self.tunings.get((volume_id, report.epoch))
        return replace(report, volume_id=volume_id, members=members, tuning=tuning)

    def heard(self, word: Confirmation) -> Confirmation:
        """The record's word with the kernel's names."""
        there = {
            each: replica_id(node) for (v, node), each in self.names_there.items() if v == word.volume_id
        }
        attempts = zip(word.rebuilding, word.attempts, strict=True)
        begun = {there[each]: attempt for each, attempt in attempts if each in there}
        return replace(
            word,
            in_sync=tuple(there[each] for each in word.in_sync if each in there),
            rebuilding=tuple(begun),
            attempts=tuple(begun.values()),
        )

    def erase(self, volume_id: str, node: int) -> None:
        plant = self.plant(volume_id)
        self.put(volume_id, kernel.with_disk(plant, node, Disk()))


@dataclass(kw_only=True)
class SimNode(FakeNode):
    """One machine. What it keeps of replicas is the fake's, what they hold is the kernel's."""

    machines: Machines
    number: int
    words: list[Confirmation] = field(default_factory=list)  # heard: they may come once more

    @property
    def boot_id(self) -> str:
        return f"boot-{self.name}-{self.machines.site.boots[self.number]}"

    @property
    def is_dead(self) -> bool:
        return self.number in self.machines.site.dead

    def _called(self, call: str) -> None:
        if not kernel.hears(self.machines.site, self.number):
            raise Unavailable(f"node {self.name} does not answer")
        if self.is_dead and call in _ON_DISK:
            raise KernelError(f"the disk of node {self.name} is dead")

    def describe(self, only: str | None = None) -> NodeFacts:
        facts = super().describe(only)
        arrays = []
        for volume_id, plant in self.machines.plants.items():
            array = agent.find_array(plant, self.number)
            if array is not None and only in {None, volume_id}:
                arrays.append(self.machines.told(volume_id, agent.look(plant, array)[1]))
        if self.is_dead:
            facts = replace(facts, replicas=(), volume_groups=())
        return replace(facts, arrays=tuple(arrays))

    def ensure_replica(self, spec: ReplicaSpec) -> ReplicaFacts:
        made = (spec.volume_id, spec.replica_id) not in self.replicas
        facts = super().ensure_replica(spec)
        if made:
            self.machines.erase(spec.volume_id, self.number)
            self.machines.place(spec.volume_id, spec.replica_id, self.number)
        return facts

    def remove_replica(self, volume_id: str, replica: str, known_version: int | None = None) -> None:
        known = (volume_id, replica) in self.replicas
        super().remove_replica(volume_id, replica, known_version)
        if known:
            self.machines.erase(volume_id, self.number)
            del self.machines.holders[volume_id, replica]

    def prepare_replica(self, spec: PrepareSpec) -> Prepared:
        self._called("prepare_replica")
        key = (spec.volume_id, spec.replica_id)
        known = self._get(key).record_version
        plant, link = agent.prepare(
            self.machines.plant(spec.volume_id),
            self.number,
            spec.epoch,
            spec.record_version,
            export=spec.consumer is not None,
            renewed=spec.full_copy and spec.record_version > known,
        )
        self._raise_epoch(key, spec.epoch, spec.record_version, spec.marked)
        self.machines.put(spec.volume_id, plant)
        self.machines.links[link.name] = link
        target = Target(link.name, "10.0.0.1", 4420, spec.consumer.host_nqn) if spec.consumer else None
        return Prepared(self._facts(key), self.boot_id, target)

    def release_replica(self, volume_id: str, replica: str, epoch: int) -> None:
        self._called("release_replica")
        if (volume_id, replica) in self.replicas:
            plant = agent.release_export(self.machines.plant(volume_id), self.number, epoch)
            self.machines.put(volume_id, plant)

    def attach(self, spec: AttachSpec) -> str:
        self._called("attach")
        links = dict(self._link(spec.volume_id, member) for member in spec.members)
        plant = self.machines.plant(spec.volume_id)._replace(wanted=spec.replica_count)
        plant = agent.attach(plant, self.number, spec.epoch, spec.record_version, links, resync=spec.resync)
        self.machines.put(spec.volume_id, plant)
        return f"/dev/md_{spec.volume_id}"

    def _link(self, volume_id: str, member: Member) -> tuple[int, Link | None]:
        link = None if member.target is None else self.machines.links[member.target.nqn]
        return self.machines.node_of(volume_id, member.replica_id), link

    def detach(self, volume_id: str, epoch: int) -> None:
        self._called("detach")
        plant = self.machines.plant(volume_id)
        self.machines.put(volume_id, agent.detach(plant, self.number, epoch))

    def abandon(self, volume_id: str, epoch: int) -> None:
        self._called("abandon")
        plant = self.machines.plant(volume_id)
        self.machines.put(volume_id, agent.abandon(plant, self.number, epoch))

    def confirm(self, confirmation: Confirmation) -> ArrayReport:
        self._called("confirm")
        return self.hear(confirmation)

    def hear(self, word: Confirmation) -> ArrayReport:
        """As it arrives: when it is sent, or late."""
        plant = self.machines.plant(word.volume_id)
        plant, report = agent.confirm(plant, self.number, self.machines.heard(word))
        self.machines.put(word.volume_id, plant)
        self.words = [*self.words[-2:], word]
        if report is None:
            raise TrilithError("md would have to fail its last member")
        return self.machines.told(word.volume_id, report)

    def rejoin(self, spec: RejoinSpec) -> None:
        self._called("rejoin")
        node, link = self._link(spec.volume_id, spec.member)
        plant = self.machines.plant(spec.volume_id)
        how = agent.Return(
            link, full=spec.copy is CopyMode.FULL, every_bit=spec.resumable, version=spec.record_version
        )
        plant = agent.rejoin(plant, self.number, spec.epoch, node, how)
        self.machines.put(spec.volume_id, plant)

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        """Only slots mean something here: the array is complete when all have a member."""
        self._called("tune")
        plant = self.machines.plant(volume_id)
        taken = len(kernel.present(agent.get_array(plant, self.number, epoch)))
        self.machines.put(volume_id, plant._replace(wanted=max(tuning.slots, taken)))
        self.machines.tunings[volume_id, epoch] = tuning

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        """The chunk that is followed was there before. What is new is marked on every member."""
        self._called("grow_array")
        plant = self.machines.plant(volume_id)
        array = agent.get_array(plant, self.number, epoch)
        members = kernel.taking(array)
        if len(kernel.reached(plant, array, members)) < len(members):
            raise TimedOut("a member cannot be marked")
        for replica in members:
            name = self.machines.names_there[volume_id, replica]
            holder = self.cluster.holder(volume_id, name)
            if holder.replicas[volume_id, name].size_bytes < size_bytes:
                raise FailedPrecondition(f"member {name} is too small")

    def set_limits(self, volume_id: str, epoch: int, limits: Limits) -> None:
        self._called("set_limits")
        agent.get_array(self.machines.plant(volume_id), self.number, epoch)
        self.limits[volume_id] = limits

    def _facts(self, key: tuple[str, str]) -> ReplicaFacts:
        return replace(super()._facts(key), suspect=is_marked(self.machines.plant(key[0]).disks[self.number]))

    # What happens to it

    def look(self, volume_id: str, array: Array) -> ArrayReport:
        """What the agent's stream would tell now."""
        plant, report = agent.look(self.machines.plant(volume_id), array)
        self.machines.put(volume_id, plant)
        return self.machines.told(volume_id, report)

    def restart_agent(self) -> None:
        self.words.clear()
        for volume_id, plant in tuple(self.machines.plants.items()):
            array = agent.find_array(plant, self.number)
            if array is not None:
                self.machines.put(volume_id, agent.restart(plant, array))

    def replace_disk(self) -> None:
        """While it is off: an empty one."""
        for volume_id, replica in tuple(self.replicas):
            self.machines.erase(volume_id, self.number)
            del self.machines.holders[volume_id, replica]
        self.replicas.clear()

    def take_image(self) -> Image:
        """While it is off."""
        contents = {v: self.machines.plant(v).disks[self.number] for v, _ in self.replicas}
        return Image(dict(self.replicas), contents)

    def put_back(self, image: Image) -> None:
        """While it is off: the disk is what it was then. Arrays elsewhere know the names that they knew."""
        self.replace_disk()
        self.replicas.update(image.headers)
        self.machines.holders.update(dict.fromkeys(image.headers, self.number))
        for volume_id, disk in image.contents.items():
            plant = self.machines.plant(volume_id)
            self.machines.put(volume_id, kernel.with_disk(plant, self.number, disk))


class SimCluster(FakeCluster):
    """Nodes that reach each other as far as the site lets them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(list(names))
        self.machines = Machines(names)
        self.sim: dict[str, SimNode] = {}
        for number, name in enumerate(names):
            node = SimNode(name=name, cluster=self, machines=self.machines, number=number)
            self.sim[name] = self.nodes[name] = node


class Fate(Protocol):
    """What befalls a call, before it and after it."""

    def before(self, node: str, call: str) -> None:
        """Raise Unavailable when it does not arrive."""

    def after(self, node: str, call: str) -> None:
        """Raise TimedOut when its answer does not."""

    def detains(self, node: str, call: str, act: Callable[[], object]) -> bool:
        """Whether it arrives, and is done later: its caller does not wait for so long."""


class _Way:
    """A node behind a network."""

    def __init__(self, node: SimNode, fate: Fate) -> None:
        self._node = node
        self._fate = fate

    def __getattr__(self, name: str) -> Callable[..., object]:
        act = getattr(self._node, name)

        def call(*args: object) -> object:
            self._fate.before(self._node.name, name)
            if self._fate.detains(self._node.name, name, partial(act, *args)):
                raise TimedOut(f"{self._node.name} has not done {name} yet")
            answer = act(*args)
            self._fate.after(self._node.name, name)
            return answer

        return call


def connect_by(cluster: SimCluster, fate: Fate) -> Callable[[Node], NodeApi]:
    return lambda node: cast("NodeApi", _Way(cluster.sim[node.name], fate))
