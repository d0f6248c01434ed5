"""Bad days on real machines: each ends in a clear error, or in writes that go on; nothing is left behind."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hack.checker.collector import Record
from hack.lab.paths import REPOSITORY
from hack.lab.vm import Machine, Spawned
from replication.clock import SystemClock
from replication.control.volumes import VolumeRequest
from replication.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    OutOfSpace,
    Unauthenticated,
    Unavailable,
)
from replication.model import GIB, MIB, Attachment, Node, Phase, ReplicaState
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from tests.lab.stand import PATIENCE, POOL, Checked, Interception, Stand, dump, start_writer, traces, wait_for
from tests.lab.stories.told import end, tell

pytestmark = [pytest.mark.lab, pytest.mark.cluster(nodes=3, disks=2)]
DISK_ERROR_STALL = 7.5  # seconds: five times the goal of 1.5
SILENCE_STALL = 25.0  # seconds: five times the goal of 5
_LISTENER = "127.0.0.1:9999"


class HalfAnHourAgo(SystemClock):
    """Younger than the cluster's authority, which is valid from an hour before it was made."""

    def wall(self) -> float:
        return super().wall() - 1800


# What is asked for cannot be had


def test_a_disk_that_holds_something_is_refused_and_left_alone(stand: Stand) -> None:
    m1 = stand.machine("m1")
    dirty, clean = m1.disk_path(1), stand.machine("m2").disk_path(1)
    m1.succeed(f"mkfs.ext4 -q {dirty}", timeout=120)
    before = m1.succeed(f"head -c 32M {dirty} | sha256sum")
    with pytest.raises(FailedPrecondition, match=rf"m1.*{dirty}.*it holds ext4"):
        stand.control.pools.create("other", ("m1", "m2"), 1, (("m1", dirty), ("m2", clean)))
    assert m1.succeed(f"head -c 32M {dirty} | sha256sum") == before
    with pytest.raises(NotFound):
        stand.control.pools.get("other")
    for node in ("m1", "m2"):
        assert {group.pool for group in stand.control.nodes.facts(node).volume_groups} == {POOL}
    wait_for(lambda: "it holds ext4" in list_disks(stand), "the disk to be looked at again", PATIENCE)


def list_disks(stand: Stand) -> str:
    return stand.site.run_cli("--output", "json", "disk", "list")


def test_what_cannot_be_had_is_said_and_leaves_nothing(stand: Stand) -> None:
    volumes = stand.control.volumes
    with pytest.raises((OutOfSpace, OutOfRange), match="nvme"):
        volumes.create(VolumeRequest("huge", 1024 * GIB, POOL))
    with pytest.raises(FailedPrecondition, match="5 replicas need 5 nodes, pool nvme has 3"):
        volumes.create(VolumeRequest("wide", 16 * MIB, POOL, 5))
    with pytest.raises(NotFound, match="nowhere"):
        volumes.create(VolumeRequest("lost", 16 * MIB, "nowhere"))
    assert volumes.list() == ()
    stand.assert_sound()
    volume = stand.create("taken", 16 * MIB)
    with pytest.raises(AlreadyExists, match=r"size is 16777216, not 33554432"):
        stand.create("taken", 32 * MIB)
    with pytest.raises(NotFound, match="m9"):
        volumes.attach(volume.id, "m9")
    assert volumes.list() == (volume,)
    stand.remove(volume)


# Nodes that do not answer


@pytest.mark.more
def test_a_node_silent_during_create_and_delete(stand: Stand) -> None:
    m3 = stand.machine("m3")
    cutting = Interception(stand, "ensure_replica", lambda _: m3.cut())
    with pytest.raises(Unavailable, match="node m3"):
        cutting.control().volumes.create(VolumeRequest("silent", 16 * MIB, POOL))
    m3.heal()
    wait_for(lambda: stand.control.volumes.list() == (), "what was begun to be undone")
    stand.wait_until_sound()
    volume = stand.create("silent", 16 * MIB)
    m3.cut()
    with pytest.raises(Unavailable, match="node m3"):
        stand.control.volumes.delete(volume.id)
    assert stand.control.volumes.get(volume.id).phase is Phase.DELETING
    m3.heal()
    wait_for(lambda: stand.control.volumes.list() == (), "the deletion to end")
    stand.wait_until_sound()


@pytest.mark.more
def test_a_node_silent_during_attach(stand: Stand) -> None:
    """A replica's: the volume starts without it. The consumer's: nothing is attached, and it can be again."""
    volume, (m1, m3) = stand.create("silent", 16 * MIB), (stand.machine("m1"), stand.machine("m3"))
    cutting = Interception(stand, "attach", lambda _: m1.cut())
    with pytest.raises(Unavailable, match="m1"):
        cutting.control().volumes.attach(volume.id, "m1")
    assert stand.control.volumes.get(volume.id).attachment is Attachment.DETACHED
    m1.heal()
    wait_for(lambda: answers(stand, "m1"), "m1 to answer")
    wait_for(lambda: traces(m1) == "", "what was begun on m1 to go")
    m3.cut()
    device = stand.control.volumes.attach(volume.id, "m1")
    m1.succeed(f"dd if=/dev/zero of={device} bs=1M count=4 oflag=direct")
    assert stand.state(volume, "m3") is ReplicaState.STALE
    m3.heal()
    stand.wait_until_redundant(volume)
    assert told_by(stand, "m1", None) == ({volume.id}, {volume.id})
    assert told_by(stand, "m1", volume.id) == ({volume.id}, set())
    assert told_by(stand, "m1", "v0") == (set(), set())
    stand.assert_replicas_equal(volume)
    stand.remove(volume)


def told_by(stand: Stand, node: str, only: str | None) -> tuple[set[str], set[str]]:
    """Whose arrays and whose replicas an agent tells of, asked for one volume or for all."""
    facts = stand.control.nodes.to(node).describe(only)
    return {array.volume_id for array in facts.arrays}, {each.volume_id for each in facts.replicas}


# Certificates


def test_an_agent_talks_to_its_own_cluster_only(stand: Stand, tmp_path: Path) -> None:
    strange = CertificateAuthority.create(tmp_path / "strange", "strange").issue("lab", Role.CONTROL)
    with pytest.raises(Unauthenticated, match="is of another cluster, lab, not of strange"):
        describe(stand, strange)
    ours = CertificateAuthority.open(stand.site.state / "ca").ca_pem
    forged = CertificateAuthority.create(tmp_path / "forged", "lab").issue("lab", Role.CONTROL)
    with pytest.raises(Unauthenticated, match="was not signed by the authority beside it"):
        describe(stand, Identity(ours, forged.certificate_pem, forged.key_pem))
    expired = CertificateAuthority.open(stand.site.state / "ca", clock=HalfAnHourAgo())
    with pytest.raises(Unauthenticated, match=r"control:lab expired at .*; issue a new one"):
        describe(stand, expired.issue("lab", Role.CONTROL, days=0))
    node = CertificateAuthority.open(stand.site.state / "ca").issue("m2", Role.NODE)
    with pytest.raises(Unauthenticated):
        describe(stand, node)


def describe(stand: Stand, identity: Identity) -> None:
    node = stand.control.nodes.get("m1")
    with NodeClient(Node(node.name, node.address, node.data_address), identity) as client:
        client.describe()


# Faults under writes


def test_a_disk_answers_with_errors(stand: Stand) -> None:
    """Under a remote member, then under the consumer's own. They pass the hold layer: md fails the member."""
    volume = stand.create("errs")
    with stand.writing(volume, "m1") as checked:
        stalls, redundant = [], 0.0
        for machine in (stand.machine("m3"), stand.machine("m1")):
            stalls.append(stall_of_loss(stand, checked, machine, machine.fail_disk_io))
            machine.heal_disk_io()
            redundant = stand.wait_until_redundant(volume)
            checked.wait_for_writes(100)
        verdict = checked.finish()
    print(f"longest stalls: {stalls[0]:.2f} s when a remote disk errs, {stalls[1]:.2f} s when the local does")
    tell("errs", verdict, max(stalls), redundant)
    assert max(stalls) < DISK_ERROR_STALL
    end(stand, volume, verdict)


@pytest.mark.more
def test_disks_are_pulled_out(stand: Stand) -> None:
    """A remote member's, then the consumer's own: writes go on on the last replica, and are found on it."""
    volume = stand.create("pulled")
    m1, m2, m3 = stand.cluster.machines
    with stand.writing(volume, "m1") as checked:
        remote = stall_of_loss(stand, checked, m3, m3.break_disk)
        local = stall_of_loss(stand, checked, m1, m1.break_disk)
        checked.finish()
    stand.control.volumes.detach(volume.id)
    power_cycle(stand, m1, m3)
    verdict = checked.collector.judge(dump(m2, stand.control.volumes.attach(volume.id, "m2")))
    redundant = stand.wait_until_redundant(volume)
    print(f"longest stalls: {remote:.2f} s when a remote disk goes, {local:.2f} s when the local one does")
    tell("pulled", verdict, max(remote, local), redundant)
    assert max(remote, local) < DISK_ERROR_STALL
    end(stand, volume, verdict)


def stall_of_loss(stand: Stand, checked: Checked, machine: Machine, lose: Callable[[], None]) -> float:
    """The longest stall until the machine's replica is recorded as stale and writes go on."""
    (volume,) = stand.control.volumes.list()
    checked.collector.restart_stall_watch()
    lose()
    stand.wait_for_state(volume, machine.name, ReplicaState.STALE, 60)
    checked.wait_for_writes(100)
    return checked.collector.stall()


@pytest.mark.long
def test_two_replicas_lost_one_after_the_other(stand: Stand) -> None:
    """The second while the first is being dropped: md then waits for writes, and these wait for us."""
    volume = stand.create("two")
    m2, m3 = stand.machine("m2"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        stall = checked.measure(partial(crash_in_turn, m3, m2), SILENCE_STALL)
        assert {stand.state(volume, node) for node in ("m2", "m3")} == {ReplicaState.STALE}
        checked.wait_for_writes(100)
        stand.revive(m3)
        stand.revive(m2)
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    tell("two", verdict, stall, redundant)
    assert stall < SILENCE_STALL - 2
    end(stand, volume, verdict)


@pytest.mark.more
def test_a_replica_lost_while_another_comes_back(stand: Stand) -> None:
    """Lost just as the consumer's agent takes the other one in."""
    volume = stand.create("return")
    m2, m3 = stand.machine("m2"), stand.machine("m3")
    with stand.writing(volume, "m1") as checked:
        m3.cut()
        stand.wait_for_state(volume, "m3", ReplicaState.STALE)
        stand.kill_control()
        losing = Interception(stand, "rejoin", lambda _: m2.cut())
        with losing.watching():
            m3.heal()
            wait_for(lambda: losing.happened, "m3's return")
            checked.collector.restart_stall_watch()
            stand.wait_for_state(volume, "m2", ReplicaState.STALE)
            stand.wait_for_state(volume, "m3", ReplicaState.IN_SYNC, PATIENCE)
            checked.wait_for_writes(100)
            stall = checked.collector.stall()
        stand.start_control()
        m2.heal()
        redundant = stand.wait_until_redundant(volume)
        verdict = checked.finish()
    tell("return", verdict, stall, redundant)
    assert stall < SILENCE_STALL
    end(stand, volume, verdict)


def test_a_consumer_cut_off_from_everything_is_fenced(stand: Stand) -> None:
    """What it had acknowledged is on the next consumer; after the fence it acknowledges nothing more."""
    volume = stand.create("fenced")
    m1, m2 = stand.machine("m1"), stand.machine("m2")
    device = stand.control.volumes.attach(volume.id, "m1")
    listener = listen(m1)
    writer = start_writer(m1, device, _LISTENER)
    wait_for(lambda: len(hear(listener)) > 1000, "m1 to write", 60)
    m1.cut()
    stand.control.volumes.detach(volume.id, "m1")
    fenced_at = float(m1.succeed("cut -d' ' -f1 /proc/uptime"))
    stand.control.volumes.attach(volume.id, "m2")
    found = dump(m2, device)
    moved_at = float(m1.succeed("cut -d' ' -f1 /proc/uptime"))
    with stand.writing(volume, "m2") as checked:
        m1.heal()
        m1.wait_until_succeeds(f"! test -e /sys/block/md_{volume.id}", timeout=PATIENCE)
        assert writer.status is not None, "who could see an acknowledgement is killed before"
        redundant = stand.wait_until_redundant(volume)
        checked.wait_for_writes(100)
        verdict = checked.finish()
    told = hear(listener)
    assert [line for at, line in told if at > fenced_at and line[0] in "ADE"] == []
    record = record_of(told)
    assert record.last_acknowledged_at is not None
    before = record.judge(found.splitlines())
    stall = max(record.longest_stall, moved_at - record.last_acknowledged_at)
    tell("fenced", before, stall, redundant)
    tell("fenced-next", verdict, checked.collector.stall(), redundant)
    assert before.checked > 300
    end(stand, volume, before, verdict)


def listen(machine: Machine) -> Spawned:
    program = f"{REPOSITORY}/tests/lab/listen.py"
    spawned = machine.spawn(["python3", "-I", "-S", program, _LISTENER])
    machine.wait_until_succeeds("ss -Hltn | grep -q :9999")
    return spawned


def hear(listener: Spawned) -> list[tuple[float, str]]:
    """When it heard which line."""
    lines = (line.partition(" ") for line in listener.output.splitlines(keepends=True) if line.endswith("\n"))
    return [(float(at), line) for at, _, line in lines]


def record_of(told: list[tuple[float, str]]) -> Record:
    record = Record()
    for at, line in told:
        record.take(line, at)
    assert record.errors == []
    return record


def crash_in_turn(first: Machine, second: Machine) -> None:
    first.crash()
    SystemClock().sleep(0.7)
    second.crash()


def power_cycle(stand: Stand, *machines: Machine) -> None:
    for machine in machines:
        machine.crash()
    stand.cluster.restore()
    stand.restore()


def answers(stand: Stand, node: str) -> bool:
    with contextlib.suppress(Unavailable):
        stand.control.nodes.facts(node)
        return True
    return False
