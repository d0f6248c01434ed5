"""Volumes as an orchestrator uses them: many at once, with programs killed meanwhile, over a node's boot."""

import json

import pytest

from hack.bench.many import Many, percentile
from hack.bench.orders import POOL, use
from hack.demo.csi_calls import TARGET, Orchestrator
from hack.lab.errors import LabError
from hack.lab.paths import REPOSITORY, VENV
from hack.lab.remains import find_unsound
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.model import MIB
from replication.traces import TraceKind
from tests.lab.csi.killing import WHATEVER, Killer, repeat
from tests.lab.csi.strays import PLACE, STRAY
from tests.lab.stand import PATIENCE, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, disks=1, disk_size_bytes=8 << 30)]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "count",
    [6, pytest.param(12, marks=pytest.mark.more), pytest.param(40, marks=pytest.mark.long)],
)
def test_many_volumes_at_once_from_three_nodes(site: Site, count: int) -> None:
    many = Many(site, count, repeat)
    volumes = many.create()
    assert len({used.id for used in volumes}) == count
    many.mount(volumes)
    many.write(volumes)
    assert many.list_wrong(volumes) == []
    many.unmount(volumes)
    many.detach(volumes)
    many.delete(volumes)
    for phase in ("create", "attach-to-mounted", "unmount", "detach", "delete"):
        seconds = many.seconds(phase)
        print(f"{phase}: p50 {percentile(seconds, 0.5):.2f} s, p99 {percentile(seconds, 0.99):.2f} s")
    assert_nothing_left(site)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("seed", "count"), [(20261125, 9), (7, 40)], ids=["nine", "forty"])
def test_programs_killed_at_random_leave_nothing_and_every_repeat_ends_well(
    site: Site, seed: int, count: int
) -> None:
    """Agents, node plugins and the controller; what was written is there all the same."""
    with Killer(site, seed) as killer:
        many = Many(site, count, repeat)
        volumes = many.create()
        many.mount(volumes)
        many.write(volumes)
        assert many.list_wrong(volumes) == []
        many.unmount(volumes)
        many.detach(volumes)
        many.delete(volumes)
    print(f"killed, seed {seed}: {killer.killed}")
    assert {"agent", "node plugin", "controller"} == set(killer.killed)
    assert_nothing_left(site)


def test_a_machine_that_boots_has_its_staged_volume_again(site: Site) -> None:
    """As kubelet does it: what was staged is unstaged, and staged again with the context that it knows."""
    csi, machine = Orchestrator(site), site.cluster.machines[0]
    volume_id = csi.create("booted", POOL, 64 * MIB)
    context = csi.attach(volume_id, machine)
    csi.mount(volume_id, machine, context)
    machine.succeed(f"echo written > {TARGET}/file; sync")
    machine.crash()
    machine.start()
    site.start_agent(machine)
    site.start_node_plugin(machine)
    site.wait_for_agent(machine)
    site.wait_for_plugins()
    repeat(lambda: csi.unmount(volume_id, machine), WHATEVER)
    repeat(lambda: csi.mount(volume_id, machine, context), WHATEVER)
    assert machine.succeed(f"cat {TARGET}/file") == "written\n"
    csi.unmount(volume_id, machine)
    csi.detach(volume_id, machine)
    csi.delete(volume_id)
    assert_nothing_left(site)


@pytest.mark.more
def test_the_doctor_finds_what_was_made_by_hand_and_removes_it_when_told(site: Site) -> None:
    csi, (m1, m2, _) = Orchestrator(site), site.cluster.machines
    volume_id = csi.create("sound", POOL, 64 * MIB)
    use(csi, volume_id, m1)
    m1.succeed(f"echo kept > {TARGET}/file; sync")
    make_strays(site, m1, m2)
    found = site.control.doctor.examine().findings
    assert {(finding.node, finding.kind) for finding in found} == {
        ("m2", TraceKind.CONNECTION),
        *(("m1", kind) for kind in TraceKind if kind is not TraceKind.CONNECTION),
    }
    assert {finding.volume for finding in found} == {STRAY}
    with pytest.raises(LabError, match="8 things found that should not be so"):
        site.run_cli("doctor")
    assert m1.succeed(f"findmnt {PLACE}")
    assert "nothing found" not in site.run_cli("doctor", "--remove", "--yes")
    assert "nothing found" in site.run_cli("doctor")
    assert m1.succeed(f"cat {TARGET}/file") == "kept\n"
    csi.unmount(volume_id, m1)
    csi.detach(volume_id, m1)
    csi.delete(volume_id)
    assert_nothing_left(site)


def make_strays(site: Site, machine: Machine, other: Machine) -> None:
    group = site.control.nodes.facts(machine.name).volume_groups[0]
    python = f"PYTHONPATH={REPOSITORY} {VENV}/bin/python -m tests.lab.csi.strays"
    machine.succeed(f"{python} {group.name} {group.disk} {machine.address}", timeout=120)
    other.succeed(f"{python} {machine.address}", timeout=120)


def assert_nothing_left(site: Site) -> None:
    """No record, and nothing of ours but the pool on any machine; the doctor sees it so, too. All run."""
    assert {name: process.poll() for name, process in site.daemons.items()} == dict.fromkeys(site.daemons)

    def is_clean() -> bool:
        return not site.control.volumes.list() and not list(find_unsound(site.control, site.cluster.machines))

    wait_for(is_clean, "everything to be gone", PATIENCE)
    assert json.loads(site.run_cli("--output", "json", "doctor")) == {
        "findings": [],
        "silent": {},
        "changing": [],
    }
