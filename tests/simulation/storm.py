"""The real control plane over simulated machines, in bad weather: everything is drawn from one seed.

Two control processes share a store. Between any two of their calls nodes go on, write, break and are
mended; calls and answers are lost; reports come late, twice or never; processes die at any call. From time
to time the weather clears: then everything has to come back to health by itself, and every acknowledged
write is read.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from replication.control import insync, rebuild
from replication.control.control import Control, build_control
from replication.control.reconciler import Reconciler
from replication.control.store.base import Event
from replication.control.store.memory import MemoryStore
from replication.control.volumes import VolumeRequest
from replication.errors import TimedOut, TrilithError, Unavailable
from replication.model import GIB, ArrayReport, Attachment, Replica, Versioned, Volume
from tests.fakes.clock import HandClock
from tests.fakes.mortal import Died
from tests.simulation import agent, kernel, outside
from tests.simulation.kernel import CONTROL, Array, Plant
from tests.simulation.machines import Image, SimCluster, SimNode, Wrong, connect_by

NODES = ("a", "b", "c", "d", "e", "f")
VOLUMES = (("one", 3), ("two", 3), ("three", 5))
MAILS = 4
MOST_FAULTS = 3
VERSIONS_KNOWN = 3
DETAINED = frozenset(
    ("prepare_replica", "release_replica", "attach", "detach", "abandon", "rejoin", "tune", "confirm")
)
"""Calls that may wait at their node for another one, longer than whoever makes them."""


class Absent(MemoryStore):
    """A store that may be away. What is known of it without asking is one of a record's last versions."""

    away = False

    def __init__(self, cluster: str, choices: random.Random) -> None:
        super().__init__(cluster)
        self._choices = choices
        self._written: dict[str, deque[Versioned]] = {}

    def recall_volume(self, volume_id: str) -> Versioned | None:
        written = self._written.get(volume_id)
        return self._choices.choice(written) if written else None

    def swap_volume(self, volume: Volume, expected_version: int, events: tuple[Event, ...] = ()) -> Versioned:
        if self.away:
            raise Unavailable("the store is away")
        swapped = super().swap_volume(volume, expected_version, events)
        self._written.setdefault(volume.id, deque(maxlen=VERSIONS_KNOWN)).append(swapped)
        return swapped


@dataclass
class Process:
    """One control process, and how many more calls it lives."""

    control: Control
    reconciler: Reconciler


class Storm:
    """A run. `step` is one event, or one call of control; the same seed gives the same run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.steps = 0
        self.helped = 0  # how often somebody had to do what the product cannot
        self.events: list[str] = []
        self._random = random.Random(seed)  # noqa: S311  repeatable is what it has to be
        self._cluster = SimCluster(NODES)
        self._machines = self._cluster.machines
        self._store, self._clock = Absent(self._cluster.name, self._random), HandClock()
        self._mail: list[tuple[str, ArrayReport]] = []
        self._late: list[tuple[str, str, Callable[[], object]]] = []  # node, call, what it does
        self._images: dict[str, Image] = {}
        self._calm, self._busy, self._lives = True, False, 10**9
        self._processes = [self._new_process() for _ in range(2)]
        self._cluster.add_to(self._processes[0].control)
        requests = (VolumeRequest(name, GIB, "nvme", count) for name, count in VOLUMES)
        self._ids = [self._processes[0].control.volumes.create(each).id for each in requests]

    def _new_process(self) -> Process:
        control = build_control(self._store, connect_by(self._cluster, self), self._clock)
        return Process(control, Reconciler(control, self._clock))

    # What befalls a call

    def before(self, node: str, call: str) -> None:
        self.steps += 1
        if self._calm:
            return
        self._lives -= 1
        if self._lives < 0:
            raise Died
        if not self._busy and self._random.random() < 0.2:
            self._meanwhile()
        if self._random.random() < 0.01:
            raise Unavailable(f"{call} does not reach {node}")

    def after(self, node: str, call: str) -> None:
        if not self._calm and self._random.random() < 0.01:
            raise TimedOut(f"the answer of {node} to {call} is lost")

    def detains(self, node: str, call: str, act: Callable[[], object]) -> bool:
        if self._calm or call not in DETAINED or self._random.random() >= 0.02:
            return False
        self._late.append((node, call, act))
        return True

    def _meanwhile(self) -> None:
        self._busy, lives = True, self._lives
        self._lives = 10**9
        try:
            self._nature()
        finally:
            self._busy, self._lives = False, lives

    # Events

    def rage(self, steps: int) -> None:
        """Bad weather for at least so many steps."""
        self._calm = False
        until = self.steps + steps
        while self.steps < until:
            self._clock.time += self._random.choice((0.1, 1.0, 5.0, 40.0, 400.0))
            if self._random.random() < 0.3:
                self._act_of_control()
            else:
                self._nature()
            self._check()

    def _nature(self) -> None:
        self.steps += 1
        acts = (self._of_array, self._of_mail, self._of_faults, self._of_late)
        self._random.choices(acts, (12, 5, 2, 3))[0]()

    def _note(self, event: str) -> None:
        self.events.append(event)
        del self.events[:-60]

    def _act_of_control(self) -> None:
        """An operation that somebody asks for, or a pass of the reconciler. The process may die in it."""
        self.steps += 1
        number = self._random.randrange(2)
        process = self._processes[number]
        volume, node = self._random.choice(self._ids), self._random.choice(NODES)
        acts: list[tuple[str, Callable[[], object]]] = [
            (f"attach {volume} to {node}", lambda: process.control.volumes.attach(volume, node)),
            (f"detach {volume}", lambda: process.control.volumes.detach(volume)),
            ("reconcile", process.reconciler.run_once),
        ]
        name, act = self._random.choices(acts, (2, 1, 5))[0]
        dies = self._random.random() < 0.1
        self._lives = self._random.randrange(25) if dies else 10**9
        self._note(f"{number}: {name}")
        try:
            act()
        except TrilithError as error:
            self._note(f"{number}: {type(error).__name__}: {error}")
        except Died:
            self._note(f"{number} dies")
            self._processes[number] = self._new_process()
        finally:
            self._lives = 10**9

    def _of_array(self) -> None:
        volume_id = self._random.choice(self._ids)
        plant = self._machines.plant(volume_id)
        if not plant.arrays:
            return
        array = self._random.choice(plant.arrays)
        act = self._random.choice((self._write, self._write, self._go_on, self._of_md, self._report))
        act(volume_id, plant, array)

    def _write(self, volume_id: str, plant: Plant, array: Array) -> None:
        record = self._store.get_volume(volume_id).volume
        attached = record.attachment is Attachment.ATTACHED and not record.upkeep
        told = array.told or (attached and record.epoch == array.epoch)
        if not told or array.held:
            return
        known = array._replace(told=True)
        slow = self._random.choice([None, None, *(i for i in kernel.taking(array) if i != array.node)])
        self._put(volume_id, kernel.write(kernel.with_array(plant, array, known), known, slow), "write")

    def _go_on(self, volume_id: str, plant: Plant, array: Array) -> None:
        self._put(volume_id, kernel.go_on(plant, array), "")
        replica = self._random.randrange(len(NODES))
        if self._machines.site.up[replica]:
            self._put(volume_id, kernel.catch_up(self._machines.plant(volume_id), replica), "")

    def _of_md(self, volume_id: str, plant: Plant, array: Array) -> None:
        acts: list[Callable[[], Plant | None]] = [
            lambda: kernel.end_resync(plant, array) if array.source is not None else None,
            lambda: kernel.clear_bits(plant, array),
            lambda: agent.tidy(plant, array),
            lambda: self._read(volume_id, plant, array),
        ]
        acts += [
            lambda i=i: kernel.end_recovery(plant, array, i)  # type: ignore[misc]
            for i, m in enumerate(array.members)
            if m is not None and not m.in_sync
        ]
        after = self._random.choice(acts)()
        if after is not None:
            self._put(volume_id, after, "")

    def _read(self, volume_id: str, plant: Plant, array: Array) -> Plant | None:
        if array.epoch != self._store.get_volume(volume_id).volume.epoch:
            return None
        readers = kernel.readers(plant, array)
        return kernel.read(plant, array, self._random.choice(readers)) if readers else None

    def _report(self, volume_id: str, plant: Plant, array: Array) -> None:
        node = NODES[array.node]
        self._mail = [*self._mail[-MAILS:], (node, self._cluster.sim[node].look(volume_id, array))]

    def _of_mail(self) -> None:
        """A report arrives, perhaps not for the last time; or an old confirmation does."""
        if not self._mail or self._random.random() < 0.1:
            self._old_word(self._cluster.sim[self._random.choice(NODES)])
            return
        mail = self._random.choice(self._mail)
        if self._random.random() < 0.8:
            self._mail.remove(mail)
        self._hand_in(self._random.choice(self._processes), *mail)

    def _hand_in(self, process: Process, node: str, report: ArrayReport) -> None:
        try:
            process.reconciler.handle(node, report)
        except TrilithError as error:
            self._note(f"report of {node}: {error}")

    def _old_word(self, node: SimNode) -> None:
        if node.words and self._machines.site.up[node.number]:
            try:
                node.hear(self._random.choice(node.words))
            except TrilithError as error:
                self._note(f"old word to {node.name}: {error}")

    def _of_late(self) -> None:
        """A call is done that nobody waits for any more."""
        if self._late:
            self._do_late(*self._late.pop(self._random.randrange(len(self._late))))

    def _do_late(self, node: str, call: str, act: Callable[[], object]) -> None:
        self._note(f"{call}, late, on {node}")
        try:
            act()
        except TrilithError as error:
            self._note(f"{call}, late, on {node}: {error}")

    def _forget_late(self, node: SimNode) -> None:
        self._late = [each for each in self._late if each[0] != node.name]

    def _of_faults(self) -> None:
        node = self._cluster.sim[self._random.choice(NODES)]
        acts = (self._power, self._power, self._cable, self._cable, self._disk, self._agent, self._away)
        self._random.choice(acts)(node)

    def _count_faults(self) -> int:
        site = self._machines.site
        return len(site.cuts) + len(site.dead) + site.up.count(False)

    def _power(self, node: SimNode) -> None:
        if not self._machines.site.up[node.number]:
            self._image(node)
            self._boot(node)
        elif self._count_faults() < MOST_FAULTS:
            self._machines.everywhere(lambda plant: outside.power_off(plant, node.number))
            node.words.clear()
            self._forget_late(node)
            self._note(f"{node.name} loses power")

    def _boot(self, node: SimNode) -> None:
        self._machines.everywhere(lambda plant: outside.power_on(plant, node.number))
        self._note(f"{node.name} boots")

    def _cable(self, node: SimNode) -> None:
        other = self._random.choice([CONTROL, *(i for i in range(len(NODES)) if i != node.number)])
        pair = (min(node.number, other), max(node.number, other))
        if pair in self._machines.site.cuts or self._count_faults() < MOST_FAULTS:
            self._machines.everywhere(lambda plant: outside.cut(plant, pair))
            self._note(f"cut or mend {pair}")

    def _disk(self, node: SimNode) -> None:
        """Not the last one that holds everything."""
        site = self._machines.site
        if site.dead or self._is_needed(node.number):
            return
        self._machines.everywhere(lambda plant: outside.kill_disk(plant, node.number))
        self._note(f"{node.name}'s disk dies")

    def _image(self, node: SimNode) -> None:
        """While it is off: one is taken of its disk, or put back, but not in place of the last good one."""
        image = self._images.setdefault(node.name, node.take_image())
        if self._random.random() < 0.5 and not self._is_needed(node.number):
            node.put_back(image)
            del self._images[node.name]
            self._note(f"{node.name}'s disk is what it was")

    def _is_needed(self, number: int) -> bool:
        return any(self._good(v) <= {number} for v in self._ids)

    def _good(self, volume_id: str) -> set[int]:
        """Where replicas in sync are, but for disks that were replaced, or are old copies of themselves."""
        record = self._store.get_volume(volume_id).volume
        return {NODES.index(r.node) for r in insync.in_sync(record) if self._is_there(volume_id, r)}

    def _is_there(self, volume_id: str, replica: Replica) -> bool:
        header = self._cluster.sim[replica.node].replicas.get((volume_id, replica.id))
        return header is not None and not rebuild.is_old(replica, header)

    def _agent(self, node: SimNode) -> None:
        node.restart_agent()
        self._forget_late(node)
        self._note(f"{node.name}'s agent starts again")

    def _away(self, _: SimNode) -> None:
        self._store.away = not self._store.away
        self._note("the store is " + ("away" if self._store.away else "back"))

    def _counted(self, volume_id: str) -> set[int]:
        record = self._store.get_volume(volume_id).volume
        return {NODES.index(r.node) for r in insync.in_sync(record)}

    def _put(self, volume_id: str, plant: Plant, event: str) -> None:
        self._machines.put(volume_id, plant)
        if event:
            self._note(f"{event} {volume_id}")

    # What must be true

    def _check(self) -> None:
        for volume_id in self._ids:
            record = self._store.get_volume(volume_id).volume
            plant = self._machines.plant(volume_id)
            broken = list(insync.check(record))
            wrong = [i for i in self._good(volume_id) if plant.disks[i].value not in plant.allowed]
            if wrong:
                broken.append(f"I1: on nodes {wrong} is not what was acknowledged")
            if broken:
                raise Wrong(f"{record.name}: {'; '.join(broken)}")
