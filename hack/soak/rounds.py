"""Rounds of faults: some strike, all is healed, redundancy comes back by itself, everything is checked."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from hack.lab.cluster import Cluster
from hack.lab.remains import find_unsound, sum_replicas
from hack.lab.site import Site
from hack.soak.faults import Kind, Placed, World, choose_fault, healed, strike
from hack.soak.strikes import Strikes
from hack.soak.written import DeviationError, Tally, Written, wait
from replication.clock import SystemClock
from replication.control.volumes import VolumeRequest
from replication.model import MIB

POOL = "soaked"
SIZE_BYTES = 32 * MIB
FEWEST, MOST = 2, 5  # faults in a round
PAUSES = (
    0.0,
    0.5,
    2.0,
    6.0,
)  # seconds between them: some strike while another is noticed, some while writes go on
COMPARED_EVERY = 3  # rounds: replicas can be compared only while nobody writes
GOES_ON = 60.0  # seconds within which writes go on where a replica in sync can be reached
_CLOCK = SystemClock()


class Soak:
    """A lab under random weather; `step` says what is being done."""

    def __init__(self, cluster: Cluster, site: Site, seed: int, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._site = site
        self._say = say
        self._numbers = random.Random(seed)  # noqa: S311 - repeatable is what it has to be
        self._begun = _CLOCK.now()
        self.round, self.step = 0, "begin"
        self.tally, self.faults = Tally(), Counter[Kind]()
        self.redundant_after = 0.0

    def run(self, volumes: int, seconds: float) -> None:
        """For so long, and to the end of the round that is under way then."""
        self._make(volumes)
        while self.round == 0 or _CLOCK.now() - self._begun < seconds:
            self.round += 1
            self._strike()
            self._heal()
            self._judge(compare=self.round % COMPARED_EVERY == 0)
            tally = self.tally
            told = f"{tally.checked} writes checked, {tally.lost} lost, stall {tally.longest_stall:.1f} s"
            self._tell(f"round {self.round}: {told} so far")
        self._remove()

    def _make(self, count: int) -> None:
        """Each on a machine of its own, as far as there are as many."""
        nodes = tuple(machine.name for machine in self._cluster.machines)
        disks = tuple((machine.name, machine.disk_path(0)) for machine in self._cluster.machines)
        self._site.control.pools.create(POOL, nodes, len(nodes), disks)
        requests = [VolumeRequest(f"v{number}", SIZE_BYTES, POOL, 3) for number in range(1, count + 1)]
        made = [self._site.control.volumes.create(request) for request in requests]
        self._volumes = [Written(self._site, volume, self.tally) for volume in made]
        self._strikes = Strikes(self._cluster, self._site, self._volumes)
        for number, volume in enumerate(self._volumes):
            volume.attach(nodes[number % len(nodes)])
            volume.begin()
        self._world = healed(World(nodes, tuple(map(_place, self._volumes))))

    def _strike(self) -> None:
        for _ in range(self._numbers.randint(FEWEST, MOST)):
            fault = choose_fault(self._numbers, self._world)
            if fault is None:
                return
            self.step = str(fault)
            self._await_spared()
            self._tell(str(fault))
            self._strikes.do(fault)
            self.faults[fault.kind] += 1
            self._world = strike(self._world, fault)
            _CLOCK.sleep(self._numbers.choice(PAUSES))

    def _await_spared(self) -> None:
        """The replicas that faults have spared are in sync, or the next fault could take the last one."""
        for volume, placed in self._pairs():
            if volume.runs:
                what = f"{placed.name} to be in sync on {', '.join(sorted(placed.left))}"
                wait(partial(volume.is_in_sync, placed.left), what)

    def _heal(self) -> None:
        self.step = "writes go on without what is ailing"
        for volume, placed in self._pairs():
            if volume.runs and self._world.is_well(placed.consumer):
                volume.wait_for_writes(20, GOES_ON)
        self.step = "heal everything"
        self._strikes.heal_all()
        self.step = "redundancy comes back"
        begun = _CLOCK.now()
        self._world = healed(self._world)
        self._await_spared()
        self.redundant_after = max(self.redundant_after, _CLOCK.now() - begun)

    def _judge(self, *, compare: bool) -> None:
        for volume in self._volumes:
            self.step = f"judge {volume.name}"
            volume.wait_for_writes(20)
            volume.end()
            volume.judge()
            if compare:
                self._compare(volume)
                volume.attach(volume.node)
            volume.begin()
        self.step = "nothing is left over"
        self._await_sound()

    def _compare(self, volume: Written) -> None:
        volume.detach()
        sums = sum_replicas(self._site.control, self._cluster.machines, volume.record)
        if len(set(sums.values())) != 1:
            raise DeviationError(f"the replicas of {volume.name} differ: {sums}")

    def _remove(self) -> None:
        self._await_spared()
        for volume in self._volumes:
            self.step = f"remove {volume.name}"
            volume.end()
            volume.judge()
            self._compare(volume)
            self._site.control.volumes.delete(volume.id)
        self.step = "nothing is left"
        self._await_sound()

    def _await_sound(self) -> None:
        def unsound() -> list[str]:
            return list(find_unsound(self._site.control, self._cluster.machines))

        wait(lambda: not unsound(), "everything to be settled")

    def _pairs(self) -> Iterator[tuple[Written, Placed]]:
        return zip(self._volumes, self._world.volumes, strict=True)

    def _tell(self, what: str) -> None:
        self._say(f"{_CLOCK.now() - self._begun:7.1f} s  {what}")


def _place(volume: Written) -> Placed:
    replicas = frozenset(replica.node for replica in volume.record.replicas)
    return Placed(volume.name, volume.node, SIZE_BYTES, replicas, replicas)


def describe(faults: Counter[Kind]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in faults.most_common())
