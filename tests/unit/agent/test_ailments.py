import pytest

from replication.agent.ailments import HELD_SECONDS, judge_array, judge_disks, judge_mount, judge_peers
from replication.kernel.mounts import parse_mountinfo
from replication.model import AilmentKind, ArrayReport, MemberHealth, MemberReport

GOOD = MemberReport("r0", MemberHealth.GOOD)


def report(*members: MemberReport, held: float = 0.0, resync_done: bool = True) -> ArrayReport:
    return ArrayReport("v1", 3, 7, (GOOD, *members), resync_done, held, 200, 50)


def test_a_whole_array_has_no_ailments() -> None:
    assert judge_array(report(MemberReport("r1", MemberHealth.RECOVERED))) == ()
    assert judge_peers((report(),)) == ()


@pytest.mark.parametrize(
    ("health", "reason", "words"),
    [
        (MemberHealth.LOST, "ReplicaLost", "replica r1 is lost: silent"),
        (MemberHealth.DROPPED, "ReplicaDropped", "replica r1 is dropped: silent"),
        (MemberHealth.RECOVERING, "ReplicaRecovering", "replica r1 is recovering, 25 % done: silent"),
    ],
)
def test_a_member_that_is_not_whole_is_named(health: MemberHealth, reason: str, words: str) -> None:
    (found,) = judge_array(report(MemberReport("r1", health, "silent")))
    assert (found.kind, found.reason, found.message) == (AilmentKind.DEGRADED, reason, words)


def test_writes_that_wait_for_long_make_it_inaccessible() -> None:
    assert judge_array(report(held=HELD_SECONDS - 1)) == ()
    (found,) = judge_array(report(held=HELD_SECONDS))
    assert (found.kind, found.reason) == (AilmentKind.INACCESSIBLE, "WritesWait")


def test_an_owed_resync_is_told() -> None:
    assert [each.reason for each in judge_array(report(resync_done=False))] == ["Resync"]


@pytest.mark.parametrize(
    ("options", "fault", "reasons"),
    [
        ("rw - ext4 /dev/md_v1 rw", "", []),
        ("ro - ext4 /dev/md_v1 ro", "", []),
        ("rw - ext4 /dev/md_v1 ro", "", ["FileSystemReadOnly"]),
        ("rw - xfs /dev/md_v1 rw", "Input/output error", ["FileSystemFailed"]),
    ],
)
def test_a_file_system_that_failed_is_told(options: str, fault: str, reasons: list[str]) -> None:
    (mount,) = parse_mountinfo(f"49 32 9:127 / /stage {options}")
    assert [each.reason for each in judge_mount(mount, fault)] == reasons


def test_one_dead_disk_degrades_and_all_are_the_end() -> None:
    assert judge_disks({"/dev/a": "", "/dev/b": ""}) == ()
    assert judge_disks({}) == ()
    (some,) = judge_disks({"/dev/a": "", "/dev/b": "gone"})
    (every,) = judge_disks({"/dev/a": "gone", "/dev/b": "gone"})
    assert (some.kind, every.kind) == (AilmentKind.DEGRADED, AilmentKind.INACCESSIBLE)
    assert "1 of 2 disks of this node: /dev/b: gone" in some.message


def test_replicas_that_are_not_reached_degrade_a_nodes_storage() -> None:
    (found,) = judge_peers((report(MemberReport("r2", MemberHealth.LOST)),))
    assert "r2 of v1" in found.message
