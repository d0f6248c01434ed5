"""What end-to-end tests with equal machines share: Trilith on them, a pool, a control plane running.

Each test finds it whole: agents on all machines, the control plane as a process of its own, and no volume of
an earlier test.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import cast

from hack.checker.collector import Collector, Verdict
from hack.lab.checking import FULL, Load, dump, start_writer
from hack.lab.cluster import Cluster
from hack.lab.network import HOST_ADDRESS
from hack.lab.remains import find_unsound, sum_replicas, traces
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.clock import SystemClock, wait_until
from replication.control.control import Control, build_control
from replication.control.placement import REPLICA_COUNTS
from replication.control.reconciler import Reconciler
from replication.control.volumes import VolumeRequest
from replication.errors import TimedOut
from replication.model import MIB, Attachment, MemberHealth, Node, ReplicaState, Volume
from replication.pki import read_identity
from replication.rpc.client import NodeClient
from replication.rpc.contract import NodeApi

__all__ = [
    "PATIENCE",
    "POOL",
    "Checked",
    "Interception",
    "Stand",
    "dump",
    "start_writer",
    "traces",
    "wait_for",
]

POOL = "nvme"
PATIENCE = 120.0  # seconds for what the control plane does unasked
_CLOCK = SystemClock()


class Checked:
    """A checker that writes to the device of an attached volume."""

    def __init__(
        self, machine: Machine, device: str, collector: Collector, *kinds: str, load: Load = FULL
    ) -> None:
        self.machine = machine
        self.device = device
        self.collector = collector
        self._load = load
        self.writer = start_writer(machine, device, collector.endpoint, *kinds, load=load)

    def wait_for_writes(self, count: int, timeout: float = 60) -> None:
        """Until `count` more have been acknowledged."""
        wanted = self.collector.acknowledged() + count
        wait_for(lambda: self.collector.acknowledged() >= wanted, f"{count} writes", timeout)

    def measure(self, act: Callable[[], object], seconds: float = 6.0) -> float:
        """The longest stall from the begin of `act` until `seconds` after its end."""
        self.collector.restart_stall_watch()
        act()
        _CLOCK.sleep(seconds)
        return self.collector.stall()

    def wait_until_waiting(self, timeout: float = 15) -> None:
        """Until nothing has been acknowledged for a second; a busy machine hears late of the last."""
        seen = -1

        def quiet() -> bool:
            nonlocal seen
            before, seen = seen, self.collector.acknowledged()
            return seen == before

        wait_until(quiet, "the writes to wait", timeout=timeout, clock=_CLOCK, interval=1.0)

    def assert_waiting(self, seconds: float = 4.0) -> None:
        """Nothing is acknowledged, and nothing fails."""
        before = self.collector.acknowledged()
        _CLOCK.sleep(seconds)
        assert self.collector.acknowledged() == before
        assert self.collector.errors() == []

    def finish(self) -> Verdict:
        """Stop writing, read back, and demand that nothing failed."""
        self.writer.kill()
        self.writer.wait()
        assert self.collector.errors() == []
        return self.collector.judge(dump(self.machine, self.device, writers=self._load.writers))


class Stand:
    """Trilith on the machines of `cluster`; a context manager."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.site = Site(cluster)

    def __enter__(self) -> "Stand":
        self.site.__enter__()
        self.control = self.site.control
        disks = tuple((machine.name, machine.disk_path(0)) for machine in self.cluster.machines)
        count = max(each for each in REPLICA_COUNTS if each <= len(disks))
        self.control.pools.create(POOL, tuple(name for name, _ in disks), count, disks)
        self.start_control()
        return self

    def __exit__(self, *_: object) -> None:
        self.site.__exit__(None, None, None)

    def restore(self) -> None:
        """After the machines have been: all agents run, the control plane runs."""
        for machine in self.cluster.machines:
            if not runs_agent(machine):
                self.site.start_agent(machine)
        for machine in self.cluster.machines:
            self.site.wait_for_agent(machine)
        if self.daemon.poll() is not None:
            self.start_control()

    # The control plane

    def start_control(self) -> None:
        self.daemon = self.site.start_control()

    def kill_control(self) -> None:
        self.daemon.kill()
        self.daemon.wait()

    # Machines

    def machine(self, name: str) -> Machine:
        return self.cluster[name]

    def revive(self, machine: Machine) -> None:
        """Power on, if it is off, and its agent."""
        if not machine.running:
            machine.start()
        self.site.start_agent(machine)
        self.site.wait_for_agent(machine)

    # Volumes

    def create(self, name: str, size_bytes: int = 64 * MIB, replicas: int = 3) -> Volume:
        return self.control.volumes.create(VolumeRequest(name, size_bytes, POOL, replicas))

    @contextlib.contextmanager
    def writing(self, volume: Volume, node: str, *kinds: str) -> Iterator[Checked]:
        """Attached to `node` and written to, by writers of all kinds or of those named."""
        device = self.control.volumes.attach(volume.id, node)
        with Collector(HOST_ADDRESS) as collector:
            checked = Checked(self.machine(node), device, collector, *kinds)
            checked.wait_for_writes(200)
            yield checked

    def state(self, volume: Volume, node: str) -> ReplicaState:
        replicas = self.control.volumes.get(volume.id).replicas
        return next(replica.state for replica in replicas if replica.node == node)

    def wait_for_state(self, volume: Volume, node: str, state: ReplicaState, timeout: float = 30) -> None:
        wait_for(lambda: self.state(volume, node) is state, f"{node}'s replica to be {state}", timeout)

    def wait_until_redundant(self, volume: Volume, timeout: float = PATIENCE) -> float:
        """The seconds that it took."""
        begun = _CLOCK.now()

        def redundant() -> bool:
            now = self.control.volumes.get(volume.id)
            states = {replica.state for replica in now.replicas}
            in_sync = now.resync_source is None and states == {ReplicaState.IN_SYNC}
            return in_sync and not self._lacks_a_member(now)

        wait_for(redundant, f"{volume.name} to be redundant", timeout)
        return _CLOCK.now() - begun

    def _lacks_a_member(self, volume: Volume) -> bool:
        """Its consumer has lost one that the record still counts, and is about to be told what to do."""
        if volume.attachment is not Attachment.ATTACHED:
            return False
        arrays = self.control.nodes.facts(str(volume.consumer)).arrays
        members = [m for array in arrays if array.volume_id == volume.id for m in array.members]
        return any(member.health is MemberHealth.LOST for member in members)

    def remove(self, volume: Volume) -> None:
        """Detached and deleted; nothing of it is left on any machine."""
        self.control.volumes.detach(volume.id)
        self.control.volumes.delete(volume.id)
        self.assert_sound()

    def assert_sound(self) -> None:
        """Every record is consistent, and the machines have what the records name and nothing else."""
        assert tuple(find_unsound(self.control, self.cluster.machines)) == ()

    def wait_until_sound(self, timeout: float = PATIENCE) -> None:
        """What the control plane does unasked has been done."""

        def sound() -> bool:
            with contextlib.suppress(AssertionError):
                self.assert_sound()
                return True
            return False

        with contextlib.suppress(TimedOut):
            wait_until(sound, "everything to be settled", timeout=timeout, clock=_CLOCK, interval=0.5)
        self.assert_sound()

    def assert_replicas_equal(self, volume: Volume) -> None:
        """Byte for byte, on their own machines. Nobody may be writing."""
        sums = sum_replicas(self.control, self.cluster.machines, volume)
        assert len(set(sums.values())) == 1, sums


class Interception:
    """A way to nodes on which `act` is done right before the first call of `method`, with the node's name."""

    def __init__(self, stand: Stand, method: str, act: Callable[[str], None]) -> None:
        self._identity = read_identity(stand.site.state / "pki")
        self._store = stand.control.store
        self._method = method
        self._act = act
        self._mutex = threading.Lock()
        self.happened = False

    def control(self) -> Control:
        """A control plane that goes this way."""
        return build_control(self._store, self._connect, _CLOCK)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Its reconciler runs, in this process."""
        stop, reconciler = threading.Event(), Reconciler(self.control(), _CLOCK)
        thread = threading.Thread(target=reconciler.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            reconciler.wake()
            thread.join()

    def _connect(self, node: Node) -> NodeApi:
        return cast("NodeApi", _Intercepted(NodeClient(node, self._identity), self._before))

    def _before(self, method: str, node: str) -> None:
        with self._mutex:
            if method == self._method and not self.happened:
                self._act(node)
                self.happened = True


class _Intercepted:
    def __init__(self, client: NodeClient, before: Callable[[str, str], None]) -> None:
        self._client = client
        self._before = before

    def __getattr__(self, name: str) -> Callable[..., object]:
        function = getattr(self._client, name)

        def call(*args: object) -> object:
            self._before(name, self._client.node.name)
            return function(*args)

        return call


def runs_agent(machine: Machine) -> bool:
    status, _ = machine.execute(["pgrep", "-f", "bin/trilith-agent"])
    return status == 0


def wait_for(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    wait_until(condition, what, timeout=timeout, clock=_CLOCK, interval=0.1)
