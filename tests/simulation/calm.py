"""The weather clears: everything comes back to health by itself, and what was acknowledged is read."""

from collections.abc import Callable

from replication.errors import Unavailable
from replication.model import Attachment, Phase, ReplicaState
from tests.simulation import agent, kernel, outside
from tests.simulation.breaking import NODES
from tests.simulation.kernel import Array, Plant
from tests.simulation.lockstep import in_lockstep
from tests.simulation.machines import SimNode, Wrong
from tests.simulation.refusing import mark
from tests.simulation.storm import Storm

PATIENCE = 150  # rounds of calm before a person looks
HELPS = 4  # a machine that is restarted for one volume may be what another waits for


class Weather(Storm):
    """Spells of bad weather, each followed by a calm."""

    def settle(self) -> None:
        """The weather clears. Everything comes back by itself, and is what was written."""
        self._calm, self._store.away = True, False
        while self._late:
            self._do_late(*self._late.pop())
        self._mend()
        self._wait(lambda: not self._is_counted_dead())
        for number in tuple(self._machines.site.dead):
            self._new_disk(self._cluster.sim[NODES[number]])
        for _ in range(HELPS):
            if self._wait(self._is_all_well):
                self._read_all()
                return
            self._help_out()
        raise Wrong("not well again: " + "; ".join(map(self._describe, self._ids)))

    def _wait(self, done: Callable[[], bool]) -> bool:
        """Rounds of calm, until it is done or nobody waits any longer."""
        for _ in range(PATIENCE):
            self._clock.time += 10.0
            self._calm_round()
            self._check()
            if done():
                return True
        return False

    def _is_all_well(self) -> bool:
        return all(self._is_well(volume_id) for volume_id in self._ids)

    def _is_counted_dead(self) -> bool:
        """A replica on a dead disk, or on one that was exchanged, counts as in sync."""
        dead = self._machines.site.dead
        return any(self._counted(v) & dead for v in self._ids)

    def _describe(self, volume_id: str) -> str:
        record, plant = self._store.get_volume(volume_id).volume, self._machines.plant(volume_id)
        replicas = ", ".join(f"{r.id} on {r.node} {r.state} {r.copy}" for r in record.replicas)
        arrays = ", ".join(f"epoch {a.epoch} on {NODES[a.node]} holds {a.held}" for a in plant.arrays)
        failed = {e.message for e in self._store.list_events(volume_id, 20) if e.kind.endswith("failed")}
        where = f"{record.attachment} {record.consumer} epoch {record.epoch} upkeep {record.upkeep}"
        return f"{record.name} {where}: {replicas}; arrays: {arrays}; {failed}"

    def _help_out(self) -> None:
        """What a person has to do, or whoever uses the volume, and nothing else: the product does the rest.

        Restart a consumer whose last replica in sync has booted under it, or whose last but for the minimum:
        the export of before is gone with the boot, no other is made for an array that runs, and the array
        cannot be ended while a write waits in it. The same where one of the last has refused that write.
        """
        for volume_id in self._ids:
            minimum = self._store.get_volume(volume_id).volume.min_in_sync
            for array in self._machines.plant(volume_id).arrays:
                if _is_short(self._machines.plant(volume_id), array, minimum):
                    self.helped += 1
                    self._restart(self._cluster.sim[NODES[array.node]])

    def _restart(self, node: SimNode) -> None:
        self._machines.everywhere(lambda plant: outside.power_off(plant, node.number))
        self._boot(node)

    def _mend(self) -> None:
        """Machines with a dead disk are switched off: somebody brings a new one."""
        site = self._machines.site
        for pair in site.cuts:
            self._machines.everywhere(lambda plant, pair=pair: outside.cut(plant, pair))  # type: ignore[misc]
        for node in self._cluster.sim.values():
            if node.number in site.dead and site.up[node.number]:
                self._machines.everywhere(lambda plant, n=node.number: outside.power_off(plant, n))  # type: ignore[misc]
            elif not site.up[node.number] and node.number not in site.dead:
                self._boot(node)

    def _new_disk(self, node: SimNode) -> None:
        """Empty, unless the old one still counts: then that one comes back."""
        number = node.number
        if not self._is_counted_dead():
            node.replace_disk()
        self._machines.everywhere(
            lambda plant: plant._replace(site=plant.site._replace(dead=plant.site.dead - {number}))
        )
        self._boot(node)

    def _calm_round(self) -> None:
        self.steps += 1
        for volume_id in self._ids:
            for number in range(len(NODES)):
                caught_up = kernel.catch_up(self._machines.plant(volume_id), number)
                self._put(volume_id, mark(caught_up, number), "")
            for array in self._machines.plant(volume_id).arrays:
                self._calm_array(volume_id, NODES[array.node])
        self._processes[0].reconciler.run_once()

    def _calm_array(self, volume_id: str, node: str) -> None:
        number = NODES.index(node)
        acts: list[Callable[[Plant, Array], Plant | None]] = [
            kernel.go_on,
            lambda p, a: kernel.end_resync(p, a) if a.source is not None else None,
            *(lambda p, a, i=i: kernel.end_recovery(p, a, i) for i in range(len(NODES))),
            agent.tidy,
        ]
        for act in acts:
            plant = self._machines.plant(volume_id)
            array = agent.find_array(plant, number)
            after = None if array is None else act(plant, array)
            if after is not None:
                self._put(volume_id, after, "")
        array = agent.find_array(self._machines.plant(volume_id), number)
        if array is not None:
            report = self._cluster.sim[node].look(volume_id, array)
            self._hand_in(self._processes[0], node, report)

    def _is_well(self, volume_id: str) -> bool:
        """A single replica never leaves its node."""
        record, plant = self._store.get_volume(volume_id).volume, self._machines.plant(volume_id)
        states = [r.state for r in record.replicas]
        leaving = record.replica_count > 1 and any(r.leaving for r in record.replicas)
        whole = states == [ReplicaState.IN_SYNC] * record.replica_count and not record.upkeep and not leaving
        quiet = record.attachment in {Attachment.ATTACHED, Attachment.DETACHED}
        current = [a for a in plant.arrays if a.epoch == record.epoch]
        runs = bool(current) if record.attachment is Attachment.ATTACHED else not current
        held = any(a.held or a.source is not None for a in plant.arrays)
        return whole and quiet and runs and not held and record.phase is Phase.READY

    def _read_all(self) -> None:
        """From every member of every volume, wherever it is attached now."""
        for volume_id in self._ids:
            record = self._store.get_volume(volume_id).volume
            if record.attachment is Attachment.DETACHED:
                self._attach(volume_id, self._random.choice(NODES))
            plant = self._machines.plant(volume_id)
            array = max(plant.arrays, key=lambda a: a.epoch)
            for reader in kernel.readers(plant, array):
                plant = kernel.read(plant, array, reader)
            self._put(volume_id, plant, "")

    def _attach(self, volume_id: str, node: str) -> None:
        """Where too few can start, their machines having booted, others are brought back first."""
        try:
            self._processes[0].control.volumes.attach(volume_id, node)
        except Unavailable:
            if not self._wait(self._is_all_well):
                raise
            self._processes[0].control.volumes.attach(volume_id, node)


def _is_short(plant: Plant, array: Array, minimum: int) -> bool:
    """Whether too few serve: others have refused a write, or booted since they were exported."""
    serving = kernel.serving(array)
    links = [(i, m.link) for i in serving if (m := array.members[i]) is not None]
    away = [i for i, link in links if link is not None and link.boot != plant.site.boots[i]]
    return bool(away or kernel.is_blocked(array)) and len(serving) - len(away) < minimum


def weather(seed: int, spells: int, steps: int) -> Weather:
    """So many spells of bad weather, each followed by a calm. Raises what is wrong, with the seed."""
    with in_lockstep():
        storm = Weather(seed)
        for spell in range(spells):
            try:
                storm.rage(steps)
                storm.settle()
            except Exception as error:
                raise Wrong(story(storm, spell, steps, error)) from error
    return storm


def story(storm: Weather, spell: int, steps: int, error: Exception) -> str:
    again = f"make simulate SEED={storm.seed} STEPS={steps}"
    head = f"seed {storm.seed}, spell {spell}, step {storm.steps}: {type(error).__name__}: {error}"
    return "\n".join((head, f"again: {again}", str(storm.climate), *storm.events))
