"""Records that were lost and come back from a backup: kubectl, as docs/kubernetes.md has it typed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.golang import ensure_program
from hack.helm.chart import render
from hack.kubernetes.build import KUBECTL
from hack.kubernetes.kubectl import Kubectl
from hack.kubernetes.plane import ControlPlane
from hack.lab.errors import LabError
from hack.lab.paths import REPOSITORY
from replication.clock import wait_until
from replication.control.control import Control
from replication.control.insync import in_sync
from replication.control.volumes import VolumeRequest
from replication.errors import AlreadyExists, DataLoss
from replication.kubernetes.client import Client
from replication.model import GIB, Attachment, MemberHealth, Volume
from tests.kubernetes.controllers import running
from tests.kubernetes.machines import Machines, machines_of
from tests.kubernetes.patience import CLOCK, patiently, wait_for
from tests.kubernetes.remains import remove_everything
from tests.kubernetes.test_operator_pools import make_pool, wait_for_condition

BACKUP = "get trilith --all-namespaces --output yaml"
STOP = "--namespace trilith scale deployment trilith-controller --replicas="
WAIT = "--namespace trilith wait --for=delete pod --selector app.kubernetes.io/component=controller"
RESTORE = "create --filename"
OLDER = r"the object has been modified|somebody else changed the record"
NODES = ["m1", "m2", "m3"]


@dataclass
class Site:
    """Machines that go on while controllers and records come and go."""

    plane: ControlPlane
    admin: Client
    machines: Machines
    folder: Path

    def __post_init__(self) -> None:
        self.kubectl = Kubectl(ensure_program(KUBECTL), self.plane.admin_kubeconfig)
        self.file = self.folder / "records.yaml"

    @contextmanager
    def controller(self) -> Iterator[Control]:
        """One that leads."""
        with running(self.plane, self.machines.fakes, self.folder / "csi.sock") as replica:
            wait_until(lambda: replica.controller.leads, "a leader", timeout=60, clock=CLOCK)
            yield replica.control

    def back_up(self) -> None:
        self.file.write_text(self.kubectl.run(*BACKUP.split()))

    def lose_records(self) -> None:
        for kind in ("storagepools", "volumes", "volumenames", "poolrecords", "noderecords"):
            for found in self.kubectl.get(f"{kind}.trilith.io", "--all-namespaces"):
                name, place = found["metadata"]["name"], found["metadata"].get("namespace", "default")
                words = (f"{kind}.trilith.io", name, "--namespace", place)
                if found["metadata"].get("finalizers"):
                    gone = '{"metadata": {"finalizers": null}}'
                    self.kubectl.run("patch", *words, "--type", "merge", "--patch", gone)
                self.kubectl.run("delete", *words, "--ignore-not-found", "--wait=false")
        self.kubectl.run("delete", "clusterrecords,diskpools", "--all")

    def restore(self) -> None:
        self.kubectl.run(*RESTORE.split(), str(self.file))


@pytest.fixture
def site(plane: ControlPlane, admin: Client, tmp_path: Path) -> Iterator[Site]:
    with machines_of(admin, NODES) as machines:
        yield Site(plane, admin, machines, tmp_path)
        patiently(lambda: remove_everything(admin, "trilith"))


def make_volume(control: Control, name: str, attach: str = "") -> Volume:
    made = control.volumes.create(VolumeRequest(name, GIB, "nvme"))
    if attach:
        control.volumes.attach(made.id, attach)
    return control.volumes.get(made.id)


def lose_replica(site: Site, control: Control, volume: Volume, node: str) -> None:
    """Its array misses it, and the record says so."""
    replica = next(r.id for r in volume.replicas if r.node == node)
    consumer = site.machines.fakes.node(str(control.volumes.get(volume.id).consumer))
    site.machines.fakes.node(node).silent = True
    consumer.set_health(volume.id, replica, MemberHealth.LOST)
    wait_for(lambda: node in nodes_of(control, volume), False)
    wait_for(lambda: consumer.arrays[volume.id].members[replica].health, MemberHealth.DROPPED)
    del consumer.arrays[volume.id].members[replica]  # the agent has put it away


def nodes_of(control: Control, volume: Volume) -> set[str]:
    return {r.node for r in in_sync(control.volumes.get(volume.id))}


def says(control: Control, volume: Volume, words: str) -> Callable[[], bool]:
    return lambda: any(words in event.message for event in control.events.list(volume.id))


def test_the_commands_are_those_of_the_documentation() -> None:
    text = (REPOSITORY / "docs/kubernetes.md").read_text()
    assert f"    kubectl {BACKUP} > records.yaml\n" in text
    inner = (f"kubectl {word}" for word in (f"{STOP}0", WAIT, f"{RESTORE} records.yaml", f"{STOP}2"))
    assert "".join(f"    {word}\n" for word in inner) in text


def test_controllers_are_stopped_and_started_by_these_commands(site: Site) -> None:
    (deployment,) = (each for each in render() if each["kind"] == "Deployment")
    site.kubectl.apply(deployment)
    for count in (0, 2):
        site.kubectl.run(*STOP.split()[:-1], f"--replicas={count}")
        assert site.kubectl.get("deployments", "--namespace", "trilith")[0]["spec"]["replicas"] == count
        site.kubectl.run(*WAIT.split())
    site.kubectl.run("delete", "deployment", "trilith-controller", "--namespace", "trilith")


def test_volumes_are_used_again_after_all_records_were_lost(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        idle = make_volume(control, "idle")
        used = make_volume(control, "used", attach="m1")
    site.back_up()
    site.lose_records()
    assert site.kubectl.get("trilith", "--all-namespaces") == []
    site.restore()
    with site.controller() as control:
        assert [control.volumes.get(each.id) for each in (idle, used)] == [idle, used]
        wait_for_condition(site.admin, {"status": "True"})
        assert control.volumes.attach(idle.id, "m2")
        assert site.machines.fakes.node("m1").arrays.keys() == {used.id}
        control.volumes.detach(used.id)
        control.volumes.attach(used.id, "m3")
        assert nodes_of(control, used) == set(NODES)
        assert make_volume(control, "new").name == "new"
        control.volumes.detach(idle.id)
        control.volumes.delete(idle.id)
        assert all((idle.id, r.id) not in site.machines.fakes.node(r.node).replicas for r in idle.replicas)


def test_a_name_belongs_to_its_volume_although_its_object_went(site: Site) -> None:
    """It was owned by the object that was lost: Kubernetes collects what `create` brings back of it."""
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        made = make_volume(control, "data")
        site.kubectl.run("delete", "volumenames", "--all")
        assert control.volumes.find("data") == made
        assert control.volumes.create(VolumeRequest("data", GIB, "nvme")) == made
        with pytest.raises(AlreadyExists, match="data"):
            control.volumes.create(VolumeRequest("data", 2 * GIB, "nvme"))


def test_a_record_from_before_its_volume_moved_is_refused_by_the_disks(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        volume = make_volume(control, "data", attach="m1")
        site.back_up()
        lose_replica(site, control, volume, "m3")
        control.volumes.detach(volume.id)
        control.volumes.attach(volume.id, "m2")
    site.machines.fakes.node("m3").silent = False  # with what it had before
    site.lose_records()
    site.restore()
    with site.controller() as control:
        assert nodes_of(control, volume) == set(NODES)
        control.volumes.detach(volume.id)
        with pytest.raises(DataLoss, match=r"volume data .* is older than its disks"):
            control.volumes.attach(volume.id, "m3")
        wait_until(says(control, volume, "was the state store restored?"), "told", timeout=60, clock=CLOCK)
        assert site.machines.fakes.node("m2").arrays[volume.id].spec.epoch == volume.epoch + 1
        assert all(site.machines.fakes.node(node).replicas for node in NODES)


def test_a_replica_lost_since_the_backup_is_stale_as_soon_as_its_array_is_heard(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        volume = make_volume(control, "data", attach="m1")
        site.back_up()
        lose_replica(site, control, volume, "m3")
    site.lose_records()
    site.restore()
    with site.controller() as control:
        wait_for(lambda: nodes_of(control, volume), {"m1", "m2"})
        site.machines.fakes.node("m3").silent = False
        wait_until(lambda: bool(site.machines.fakes.node("m1").rejoined), "copied", timeout=60, clock=CLOCK)


def test_a_volume_that_the_backup_does_not_know_is_kept_and_told_of(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        site.back_up()
        used, idle = make_volume(control, "used", attach="m1"), make_volume(control, "idle", attach="m2")
        control.volumes.detach(idle.id)
    site.lose_records()
    site.restore()
    with site.controller() as control:
        known = "which no record knows, and its replicas are there"
        wait_until(says(control, used, known), "the array is told of", timeout=60, clock=CLOCK)
        kept = "the store does not know its volume"
        wait_until(says(control, idle, kept), "replicas are told of", timeout=60, clock=CLOCK)
        assert site.machines.fakes.node("m1").arrays.keys() == {used.id}
        assert all(len(site.machines.fakes.node(node).replicas) == 2 for node in NODES)
        found = {finding.volume for finding in control.doctor.examine().findings}
        assert found == {used.id, idle.id}


def test_a_volume_that_was_deleted_since_the_backup_is_lost_and_can_be_deleted(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        volume = make_volume(control, "data")
        site.back_up()
        control.volumes.delete(volume.id)
        site.kubectl.run("wait", "--for=delete", f"volume.trilith.io/{volume.id}", "--timeout=30s")
        with pytest.raises(LabError, match="AlreadyExists"):  # of all that is there still
            site.restore()
        wait_for(lambda: bool(control.volumes.get(volume.id).lost_since), True)
        control.volumes.delete(volume.id)
        assert [each.id for each in control.volumes.list()] == []


def test_an_older_record_never_replaces_a_newer_one(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        volume = make_volume(control, "data", attach="m1")
        site.back_up()
        control.volumes.detach(volume.id)
        with pytest.raises(LabError, match="AlreadyExists"):
            site.restore()
        with pytest.raises(LabError, match=OLDER):
            site.kubectl.run("apply", "--filename", str(site.file))
        with pytest.raises(LabError, match=OLDER):
            site.kubectl.run("replace", "--filename", str(site.file))
        assert control.volumes.get(volume.id).attachment is Attachment.DETACHED


def test_a_backup_of_a_newer_program_is_refused_in_words(site: Site) -> None:
    with site.controller() as control:
        make_pool(site.admin)
        wait_for_condition(site.admin, {"status": "True"})
        make_volume(control, "data")
    site.back_up()
    site.lose_records()
    site.file.write_text(site.file.read_text().replace("    sizeBytes:", "    novelty: 1\n    sizeBytes:"))
    with pytest.raises(LabError, match=r'unknown field "novelty" in io\.trilith\.v1alpha1\.Volume\.spec'):
        site.restore()
