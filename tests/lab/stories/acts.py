"""What happens in several stories."""

import itertools
from collections.abc import Sequence

from hack.checker.collector import Verdict
from hack.lab.vm import Machine
from replication.clock import SystemClock
from replication.model import ArrayReport, Volume
from tests.lab.stand import Checked, Stand, dump, wait_for

DOWN, UP = (0.5, 4.0, 1.0, 6.0, 2.0), (1.0, 3.0, 0.5)  # seconds that a link is, round and round


def move(stand: Stand, volume: Volume, lost: Checked, node: str) -> Verdict:
    """From a consumer that does not answer to `node`: what was acknowledged is found there."""
    stand.control.volumes.detach(volume.id, lost.machine.name)
    device = stand.control.volumes.attach(volume.id, node)
    assert lost.collector.errors() == []
    return lost.collector.judge(dump(stand.machine(node), device))


def cut_all_power(stand: Stand, volume: Volume, node: str, *, stays_off: str = "") -> None:
    """All machines at once; until they and their agents run, and the volume is attached to `node` again."""
    old_epoch = stand.control.volumes.get(volume.id).epoch
    cut_power_of(stand.cluster.machines)
    back = [machine for machine in stand.cluster.machines if machine.name != stays_off]
    return_power_to(stand, back, volume, node, old_epoch)


def cut_power_of(machines: Sequence[Machine]) -> None:
    for machine in machines:
        machine.crash()


def return_power_to(
    stand: Stand, machines: Sequence[Machine], volume: Volume, node: str, old_epoch: int
) -> None:
    """Until they and their agents run, and the volume is attached to `node` again, after `old_epoch`."""

    def is_back() -> bool:
        status, _ = stand.machine(node).execute(["test", "-b", f"/dev/md_{volume.id}"])
        return status == 0 and stand.control.volumes.get(volume.id).epoch > old_epoch

    for machine in machines:
        machine.power_on()
    for machine in machines:
        machine.wait_ready()
        stand.site.start_agent(machine)
    for machine in machines:
        stand.site.wait_for_agent(machine)
    wait_for(is_back, "the volume to be attached again")


def flap(machine: Machine, times: int) -> None:
    """Some outages are too short to be a loss; others are, and end in the midst of a recovery."""
    for down, up in itertools.islice(zip(itertools.cycle(DOWN), itertools.cycle(UP), strict=False), times):
        machine.cut()
        SystemClock().sleep(down)
        machine.heal()
        SystemClock().sleep(up)


def kill_agent(stand: Stand, name: str) -> None:
    stand.site.agents[name].kill()
    stand.site.agents[name].wait()


def make_mortal(stand: Stand, name: str, where: str) -> None:
    """The next agent of `name` dies where it would call `where`, a function of the product: "module:name"."""
    kill_agent(stand, name)
    machine = stand.machine(name)
    stand.site.start_agent(machine, ("python", "-m", "tests.lab.dying_agent", where))
    stand.site.wait_for_agent(machine)


def find_array(stand: Stand, volume: Volume, node: str) -> ArrayReport:
    """The volume's array on `node`, which must be of the record's epoch."""
    epoch = stand.control.volumes.get(volume.id).epoch
    arrays = stand.control.nodes.facts(node).arrays
    return next(array for array in arrays if (array.volume_id, array.epoch) == (volume.id, epoch))
