"""Faults, done to the lab's machines and to Trilith on them; and all of them undone."""

from collections.abc import Callable, Sequence

from hack.lab.cluster import Cluster
from hack.lab.locking import locked
from hack.lab.site import Site
from hack.lab.vm import Machine
from hack.soak.faults import GROWTH_BYTES, Fault, Kind
from hack.soak.written import Written, patiently
from replication.clock import SystemClock

FLAPS = 4
_CLOCK = SystemClock()


class Strikes:
    """Does what a fault says, and returns when what lasts has begun and what does not is over."""

    def __init__(self, cluster: Cluster, site: Site, volumes: Sequence[Written]) -> None:
        self._cluster = cluster
        self._site = site
        self._volumes = volumes
        self._lasting: list[Fault] = []
        self._daemon = site.start_control()
        self._acts: dict[Kind, Callable[[Fault], None]] = {
            Kind.POWER_CUT: lambda fault: self._cut_power(self._cluster[fault.node]),
            Kind.TAKEN_OVER: self._take_over,
            Kind.BLACKOUT: lambda _: self._cut_all_power(),
            Kind.CUT: lambda fault: self._cluster[fault.node].cut(),
            Kind.FLAP: self._flap,
            Kind.DEGRADED: lambda fault: self._cluster[fault.node].degrade(200, 5),
            Kind.PARTED: lambda fault: self._cluster[fault.node].cut_from(self._cluster[fault.other].address),
            Kind.DISK_ERRORS: lambda fault: self._cluster[fault.node].fail_disk_io(),
            Kind.FROZEN: self._freeze,
            Kind.CLOCK_SHIFTED: self._shift_clock,
            Kind.AGENT_KILLED: self._kill_agent,
            Kind.CONTROL_KILLED: self._kill_control,
            Kind.STORE_LOCKED: self._lock_store,
            Kind.SCRUBBED: self._scrub,
            Kind.MOVED: self._move,
            Kind.EXPANDED: self._expand,
            Kind.HEALED: lambda fault: self.heal(self._cluster[fault.node]),
        }

    def do(self, fault: Fault) -> None:
        self._lasting.append(fault)
        self._acts[fault.kind](fault)

    def heal_all(self) -> None:
        """All machines run with their agents, and every volume is written to."""
        for machine in self._cluster.machines:
            self._mend(machine)
        self._cluster.restore()
        for machine in self._cluster.machines:
            self._ensure_agent(machine)
        for machine in self._cluster.machines:
            self._site.wait_for_agent(machine)
        for volume in self._volumes:
            self._resume(volume)
        self._lasting.clear()

    def heal(self, machine: Machine) -> None:
        self._mend(machine)
        if not machine.running:
            machine.start()
        self._ensure_agent(machine)
        self._site.wait_for_agent(machine)
        for volume in self._volumes:
            if volume.node == machine.name:
                self._resume(volume)

    def _mend(self, machine: Machine) -> None:
        """What lasts and can be undone without a boot."""
        undo: dict[Kind, Callable[[], None]] = {
            Kind.CUT: machine.heal,
            Kind.DEGRADED: lambda: machine.delay(0),
            Kind.PARTED: machine.heal_from,
            Kind.DISK_ERRORS: machine.heal_disk_io,
        }
        for fault in [fault for fault in self._lasting if fault.node == machine.name]:
            undo.get(fault.kind, lambda: None)()
            self._lasting.remove(fault)

    def _ensure_agent(self, machine: Machine) -> None:
        """A machine that has booted has none."""
        if not machine.background:
            self._site.start_agent(machine)

    def _resume(self, volume: Written) -> None:
        if not volume.runs:
            volume.resume()

    def _on(self, machine: Machine) -> list[Written]:
        return [volume for volume in self._volumes if volume.node == machine.name]

    # Each of the kinds

    def _cut_power(self, machine: Machine) -> None:
        """Its writers have been heard of since a fault before this one: TCP tries more and more seldom."""
        for volume in self._on(machine):
            if volume.runs:
                volume.wait_for_writes(1)
        machine.crash()
        for volume in self._on(machine):
            volume.cut_short()

    def _cut_all_power(self) -> None:
        for machine in self._cluster.machines:
            self._cut_power(machine)

    def _take_over(self, fault: Fault) -> None:
        machine = self._cluster[fault.node]
        moved = self._on(machine)
        self._cut_power(machine)
        for volume in moved:
            self._carry(volume, fault.other)

    def _move(self, fault: Fault) -> None:
        volume = self._named(fault.volume)
        volume.end()
        self._carry(volume, fault.other)

    def _carry(self, volume: Written, node: str) -> None:
        volume.detach()
        volume.attach(node)
        volume.judge()
        volume.begin()

    def _expand(self, fault: Fault) -> None:
        volume = self._named(fault.volume)
        size = volume.record.size_bytes + GROWTH_BYTES
        what = f"{volume.name} to grow to {size} bytes"
        patiently(what, lambda: self._site.control.volumes.expand(volume.id, size))
        volume.check_size(size)

    def _scrub(self, fault: Fault) -> None:
        volume = self._named(fault.volume)
        what = f"{volume.name} to be compared"
        patiently(what, lambda: self._site.control.volumes.scrub(volume.id, repair=False))

    def _lock_store(self, fault: Fault) -> None:
        with locked(self._site.state / "state.db"):
            _CLOCK.sleep(fault.seconds)

    def _named(self, name: str) -> Written:
        return next(volume for volume in self._volumes if volume.name == name)

    def _flap(self, fault: Fault) -> None:
        machine = self._cluster[fault.node]
        for _ in range(FLAPS):
            machine.cut()
            _CLOCK.sleep(fault.seconds)
            machine.heal()
            _CLOCK.sleep(fault.seconds / 4)

    def _freeze(self, fault: Fault) -> None:
        machine = self._cluster[fault.node]
        machine.freeze()
        _CLOCK.sleep(fault.seconds)
        machine.thaw()

    def _shift_clock(self, fault: Fault) -> None:
        machine = self._cluster[fault.node]
        machine.shift_clock(1)
        _CLOCK.sleep(fault.seconds)
        machine.shift_clock(-1)

    def _kill_agent(self, fault: Fault) -> None:
        machine, agent = self._cluster[fault.node], self._site.agents[fault.node]
        agent.kill()
        agent.wait()
        _CLOCK.sleep(fault.seconds)
        self._site.start_agent(machine)
        self._site.wait_for_agent(machine)

    def _kill_control(self, fault: Fault) -> None:
        self._daemon.kill()
        self._daemon.wait()
        _CLOCK.sleep(fault.seconds)
        self._daemon = self._site.start_control()
