"""Limits set by ControllerModifyVolume on a volume in use, against what a workload then gets."""

from hack.bench.figures import Board, Figure, Goal
from hack.bench.fio import Job, format_argv, parse_rates
from hack.bench.orders import POOL
from hack.demo.csi_calls import Orchestrator
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.agent.limits import WORKLOADS
from replication.kernel import cgroup
from replication.model import MIB

SIZE_BYTES = 256 * MIB
ASKED = 200  # operations a second: far below what the machines can do
_SECONDS = 6.0
_TOLERANCE = 0.1


def measure_tiers(board: Board, site: Site) -> None:
    """Of asked operations, how many there are, for reads and for writes, each changed while attached."""
    csi, machine = Orchestrator(site), site.cluster.machines[0]
    machine.succeed(f"mkdir -p {cgroup.ROOT}/{WORKLOADS[0]}")
    volume_id = csi.create("tiers", POOL, SIZE_BYTES)
    device = csi.attach(volume_id, machine)["device"]
    for kind, parameter in (("randread", "readIOPS"), ("randwrite", "writeIOPS")):
        free = _measure(machine, device, kind)
        csi.modify(volume_id, **{parameter: str(ASKED)})
        bound = _measure(machine, device, kind)
        board.note(f"{kind}: {free:.0f} operations a second without a limit, {bound:.0f} with one of {ASKED}")
        for goal in (Goal("<=", 1 + _TOLERANCE), Goal(">=", 1 - _TOLERANCE)):
            board.add(Figure(f"{kind}-of-asked", bound / ASKED, "ratio", goal))
    csi.detach(volume_id, machine)
    csi.delete(volume_id)


def _measure(machine: Machine, device: str, kind: str) -> float:
    """Operations a second of a workload in the cgroup above all of them."""
    argv = format_argv(Job(kind, "4k", 8, seconds=_SECONDS, ramp=2.0), (device,))
    inside = f"echo $$ > {cgroup.ROOT}/{WORKLOADS[0]}/cgroup.procs; exec {' '.join(argv)}"
    return parse_rates(machine.succeed(inside, timeout=120), kind)[0]
