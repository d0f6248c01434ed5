"""What a run has: machines, a store, volumes; and what breaks of it."""

import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from replication.control import insync, rebuild, reporting
from replication.control.store.base import Event
from replication.control.store.memory import MemoryStore
from replication.errors import TrilithError, Unavailable
from replication.model import ArrayReport, Replica, Versioned, Volume
from tests.fakes.clock import HandClock
from tests.simulation import kernel, outside
from tests.simulation.climate import FAULTS, draw
from tests.simulation.kernel import CONTROL, Plant
from tests.simulation.machines import Image, SimCluster, SimNode
from tests.simulation.refusing import refuse, refuse_copy

NODES = ("a", "b", "c", "d", "e", "f")
VERSIONS_KNOWN = 3


class Refusal(NamedTuple):
    """What becomes of a volume when the disk of `node` refuses what so many `others` have."""

    volume_id: str
    consumer: int
    node: int
    what: str
    others: int
    after: Plant


class Shaky(MemoryStore):
    """A store that may be away, that refuses some swaps, and has done others although it seems not to.

    What is known of a record without asking is one of its last versions.
    """

    def __init__(self, cluster: str, befalls: Callable[[str], bool], choices: random.Random) -> None:
        super().__init__(cluster)
        self.away = False
        self._befalls = befalls
        self._choices = choices
        self._written: dict[str, deque[Versioned]] = {}

    def recall_volume(self, volume_id: str) -> Versioned | None:
        written = self._written.get(volume_id)
        return self._choices.choice(written) if written else None

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        if self.away or self._befalls("a swap is refused"):
            raise Unavailable("the store is away")
        swapped = super().swap_volume(volume, expected_version, events)
        self._written.setdefault(volume.id, deque(maxlen=VERSIONS_KNOWN)).append(swapped)
        if self._befalls("a swap is done unheard"):
            raise Unavailable("the store's answer is lost")
        return swapped


class Breaking:
    """A run's machines, before anything happens to them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.events: list[str] = []
        self._random = random.Random(seed)  # noqa: S311  repeatable is what it has to be
        self.climate = draw(self._random)
        self._cluster = SimCluster(NODES)
        self._machines = self._cluster.machines
        self._store, self._clock = Shaky(self._cluster.name, self._befalls, self._random), HandClock()
        self._late: list[tuple[str, str, Callable[[], object]]] = []  # node, call, what it does
        self._mail: list[tuple[str, ArrayReport]] = []
        self._images: dict[str, Image] = {}
        self._ids: list[str] = []
        self._busy = False  # in the middle of a call
        self._calm = True

    def _befalls(self, kind: str) -> bool:
        return not self._calm and self.climate.befalls(self._random, kind)

    def _note(self, event: str) -> None:
        self.events.append(event)
        del self.events[:-60]

    def _of_faults(self) -> None:
        """Something breaks, or is mended: the more is broken, the likelier."""
        broken = len(self._list_mendable()) + len(self._machines.site.dead)
        if self._random.randrange(self.climate.most_faults) < broken:
            self._mend_something()
        else:
            self._break_something()

    def _break_something(self) -> None:
        acts: dict[str, Callable[[SimNode], None]] = {
            "power": self._power,
            "cable": self._cable,
            "disk": self._disk,
            "agent": self._agent,
            "store": self._away,
            "refusal": self._refuse,
        }
        kind = self.climate.choose(self._random, FAULTS)
        if kind is not None:
            acts[kind](self._cluster.sim[self._random.choice(NODES)])

    def _mend_something(self) -> None:
        mendable = self._list_mendable()
        if mendable:
            self._random.choice(mendable)()

    def _list_mendable(self) -> list[Callable[[], None]]:
        """What is broken, but for disks: somebody brings new ones later."""
        site = self._machines.site
        off = (node for node in self._cluster.sim.values() if not site.up[node.number])
        return [
            *(partial(self._switch_on, node) for node in off),
            *(partial(self._cut_or_mend, pair) for pair in sorted(site.cuts)),
            *([self._come_back] if self._store.away else []),
        ]

    def _power(self, node: SimNode) -> None:
        if self._machines.site.up[node.number]:
            self._machines.everywhere(lambda plant: outside.power_off(plant, node.number))
            node.words.clear()
            self._forget_late(node)
            self._note(f"{node.name} loses power")

    def _switch_on(self, node: SimNode) -> None:
        if self.climate.befalls(self._random, "an old disk"):
            self._image(node)
        self._boot(node)

    def _boot(self, node: SimNode) -> None:
        self._machines.everywhere(lambda plant: outside.power_on(plant, node.number))
        self._note(f"{node.name} boots")

    def _cable(self, node: SimNode) -> None:
        other = self._random.choice([CONTROL, *(i for i in range(len(NODES)) if i != node.number)])
        self._cut_or_mend((min(node.number, other), max(node.number, other)))

    def _cut_or_mend(self, pair: tuple[int, int]) -> None:
        self._machines.everywhere(lambda plant: outside.cut(plant, pair))
        self._note(f"cut or mend {pair}")

    def _disk(self, node: SimNode) -> None:
        """Not the last one that holds everything."""
        site = self._machines.site
        if site.dead or self._is_needed(node.number):
            return
        self._machines.everywhere(lambda plant: outside.kill_disk(plant, node.number))
        self._note(f"{node.name}'s disk dies")

    def _refuse(self, _: SimNode) -> None:
        """A disk refuses a write, of a user or of a copy. The consumer often dies before it has told of it.

        Rather one that few others have.
        """
        late = self._random.random() < 0.7
        refusals = [each for v in self._ids for each in self._list_refusals(v, late=late)]
        self._random.shuffle(refusals)
        if refusals:
            chosen = self._random.choice((refusals[0], min(refusals, key=lambda each: each.others)))
            self._machines.put(chosen.volume_id, chosen.after)
            words = f"{NODES[chosen.node]}'s disk refuses a {chosen.what} of {chosen.volume_id}"
            self._note(f"{words}{', late' if late else ''}")
            if self._random.random() < 0.7:
                self._power(self._cluster.sim[NODES[chosen.consumer]])

    def _list_refusals(self, volume_id: str, *, late: bool) -> list[Refusal]:
        plant, found = self._machines.plant(volume_id), []
        for array in plant.arrays:
            for node in (i for i in kernel.taking(array) if not self._is_needed_by(volume_id, i)):
                of_user = refuse(plant, array, node, late=late) if array.told else None
                of_copy = refuse_copy(plant, array, node, elsewhere=late)
                others = len(set(kernel.serving(array)) - {node})
                for what, after in (("write", of_user), ("copy", of_copy)):
                    if after is not None:
                        found.append(Refusal(volume_id, array.node, node, what, others, after))
        return found

    def _image(self, node: SimNode) -> None:
        """While it is off: one is taken of its disk, or put back, but not in place of the last good one."""
        if node.name not in self._images:
            self._images[node.name] = node.take_image()
        elif not self._is_needed(node.number):
            node.put_back(self._images.pop(node.name))
            self._note(f"{node.name}'s disk is what it was")

    def _is_needed(self, number: int) -> bool:
        """During a call nobody knows whose data will count in a moment."""
        return self._busy or any(self._is_needed_by(v, number) for v in self._ids)

    def _is_needed_by(self, volume_id: str, number: int) -> bool:
        """Others may be given up by what the consumer has told of them: then this one counts alone."""
        return {number} in [self._good(record) for record in self._list_possible(volume_id)]

    def _list_possible(self, volume_id: str) -> list[Volume]:
        """The record as it is, then what reports under way may make of it, in any order."""
        possible = [self._store.get_volume(volume_id).volume]
        reports = [(node, report) for node, report in self._mail if report.volume_id == volume_id]
        for record in possible:
            for node, report in reports:
                with suppress(TrilithError):
                    after = reporting.follow(node, report)(record)
                    possible += [after] if after not in possible else []
        return possible

    def _good(self, record: Volume) -> set[int]:
        """Where replicas in sync are, but for disks that died, were replaced, refused writes, or are old."""
        disks = self._machines.plant(record.id).disks
        there = {NODES.index(r.node) for r in insync.in_sync(record) if self._is_there(record.id, r)}
        return {i for i in there if not disks[i].suspect} or there

    def _is_there(self, volume_id: str, replica: Replica) -> bool:
        node = self._cluster.sim[replica.node]
        header = None if node.is_dead else node.replicas.get((volume_id, replica.id))
        return header is not None and not rebuild.is_old(replica, header)

    def _agent(self, node: SimNode) -> None:
        node.restart_agent()
        self._forget_late(node)
        self._note(f"{node.name}'s agent starts again")

    def _away(self, _: SimNode) -> None:
        self._store.away = True
        self._note("the store is away")

    def _come_back(self) -> None:
        self._store.away = False
        self._note("the store is back")

    def _counted(self, volume_id: str) -> set[int]:
        record = self._store.get_volume(volume_id).volume
        return {NODES.index(r.node) for r in insync.in_sync(record)}

    def _forget_late(self, node: SimNode) -> None:
        self._late = [each for each in self._late if each[0] != node.name]
