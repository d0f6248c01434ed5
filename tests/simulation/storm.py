"""The real control plane over simulated machines, in bad weather: everything is drawn from one seed.

Two control processes share a store. Between any two of their calls nodes go on, write, break and are
mended; calls and answers are lost; reports come late, twice or never; processes die at any call. From time
to time the weather clears: then everything has to come back to health by itself, and every acknowledged
write is read.
"""

from collections.abc import Callable
from dataclasses import dataclass

from replication.control import insync
from replication.control.control import Control, build_control
from replication.control.reconciler import Reconciler
from replication.control.settings import MINIMUM
from replication.control.volumes import VolumeRequest
from replication.errors import TimedOut, TrilithError, Unavailable
from replication.model import GIB, ArrayReport, Attachment
from tests.fakes.mortal import Died
from tests.simulation import agent, kernel
from tests.simulation.breaking import NODES, Breaking
from tests.simulation.climate import ARRAYS, NATURE, OPERATIONS
from tests.simulation.kernel import Array, Plant
from tests.simulation.machines import SimNode, Wrong, connect_by
from tests.simulation.refusing import mark

MAILS = 4
DISK = "/dev/nvme0n1"  # the only one that a node has
DETAINED = frozenset(
    (
        "prepare_replica",
        "release_replica",
        "attach",
        "detach",
        "abandon",
        "rejoin",
        "tune",
        "confirm",
        "resize_replica",
        "grow_array",
    )
)
"""Calls that may wait at their node for another one, longer than whoever makes them."""


@dataclass
class Process:
    """One control process, and how many more calls it lives."""

    control: Control
    reconciler: Reconciler


class Storm(Breaking):
    """A run. `step` is one event, or one call of control; the same seed gives the same run."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.steps = 0
        self.helped = 0  # how often somebody had to do what the product cannot
        self._lives = 10**9
        self._processes = [self._new_process() for _ in range(2)]
        self._cluster.add_to(self._processes[0].control)
        requests = (
            VolumeRequest(kind.name, GIB, "nvme", kind.replicas, parameters=((MINIMUM, str(kind.minimum)),))
            for kind in self.climate.volumes
        )
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
        if not self._busy and self._befalls("meanwhile"):
            self._meanwhile()
        if self._befalls("a call is lost"):
            raise Unavailable(f"{call} does not reach {node}")

    def after(self, node: str, call: str) -> None:
        if self._befalls("an answer is lost"):
            raise TimedOut(f"the answer of {node} to {call} is lost")

    def detains(self, node: str, call: str, act: Callable[[], object]) -> bool:
        if call not in DETAINED or not self._befalls("a call is late"):
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
            if self._befalls("an operation"):
                self._act_of_control()
            else:
                self._nature()
            self._check()

    def _nature(self) -> None:
        self.steps += 1
        acts = {
            "array": self._of_array,
            "mail": self._of_mail,
            "fault": self._of_faults,
            "late call": self._of_late,
        }
        kind = self.climate.choose(self._random, NATURE)
        if kind is not None:
            acts[kind]()

    def _act_of_control(self) -> None:
        """An operation that somebody asks for, or a pass of the reconciler. The process may die in it."""
        self.steps += 1
        number = self._random.randrange(2)
        process = self._processes[number]
        volume, node = self._random.choice(self._ids), self._random.choice(NODES)
        volumes, kind = process.control.volumes, self.climate.choose(self._random, OPERATIONS)
        acts: dict[str | None, Callable[[], object]] = {
            "attach": lambda: volumes.attach(volume, node),
            "detach": lambda: volumes.detach(volume),
            "reconcile": process.reconciler.run_once,
            "expand": lambda: self._expand(process, volume),
            "drain a node": lambda: self._drain(process, node),
            "drain a disk": lambda: self._drain(process, node, disk=DISK),
        }
        dies = self._befalls("the process dies")
        self._lives = self._random.randrange(25) if dies else 10**9
        self._note(f"{number}: {kind} ({volume}, {node})")
        try:
            acts[kind]()
        except TrilithError as error:
            self._note(f"{number}: {type(error).__name__}: {error}")
        except Died:
            self._note(f"{number} dies")
            self._processes[number] = self._new_process()
        finally:
            self._lives = 10**9

    def _expand(self, process: Process, volume_id: str) -> None:
        """As far as its bitmap goes."""
        size = self._store.get_volume(volume_id).volume.size_bytes
        process.control.volumes.expand(volume_id, size + GIB // 4)

    def _drain(self, process: Process, node: str, disk: str = "") -> None:
        """One at a time; what was drained before is uncordoned."""
        emptying = process.control.emptying
        for cordon in self._store.list_cordons():
            drained, _, group = cordon.name.partition("/")
            if group:
                emptying.uncordon_disk(drained, DISK)
            else:
                emptying.uncordon(drained)
        if disk:
            emptying.drain_disk(node, disk)
        else:
            emptying.cordon(node, draining=True)

    def _of_array(self) -> None:
        volume_id = self._random.choice(self._ids)
        plant = self._machines.plant(volume_id)
        if not plant.arrays:
            return
        array = self._random.choice(plant.arrays)
        acts: dict[str | None, Callable[[str, Plant, Array], None]] = {
            "write": self._write,
            "go on": self._go_on,
            "md": self._of_md,
            "report": self._report,
        }
        acts[self.climate.choose(self._random, ARRAYS)](volume_id, plant, array)

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
            self._put(volume_id, mark(kernel.catch_up(self._machines.plant(volume_id), replica), replica), "")

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
            wrong = [i for i in self._good(record) if plant.disks[i].value not in plant.allowed]
            if wrong:
                broken.append(f"I1: on nodes {wrong} is not what was acknowledged")
            if broken:
                raise Wrong(f"{record.name}: {'; '.join(broken)}")
