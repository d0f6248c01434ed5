"""How volumes are judged from the record and the reports of their consumers."""

from dataclasses import replace

import pytest

from replication.cli.watch import describe, describe_rebuild
from replication.control.redundancy import Health, Rebuild, judge_volume
from replication.model import (
    MIB,
    ArrayReport,
    MemberHealth,
    MemberReport,
    Phase,
    Replica,
    ReplicaState,
    Volume,
)

REPLICAS = tuple(Replica(f"r{n}", f"m{n}", "vg", ReplicaState.IN_SYNC) for n in (1, 2, 3))
WHOLE = Volume(
    id="v1",
    name="data",
    pool="nvme",
    size_bytes=256 * MIB,
    bitmap_chunk_bytes=65536,
    replica_count=3,
    phase=Phase.READY,
    replicas=REPLICAS,
    epoch=4,
    consumer="m1",
)
REPORT = ArrayReport("v1", 4, 7, (), resync_done=True)
RECOVERING = replace(
    REPORT,
    members=(MemberReport("r2", MemberHealth.GOOD), MemberReport("r3", MemberHealth.RECOVERING)),
    recovery_total_bytes=200 * MIB,
    recovery_done_bytes=50 * MIB,
    recovery_bytes_per_second=10 * MIB,
)


def with_third(state: ReplicaState) -> Volume:
    return replace(WHOLE, replicas=(*REPLICAS[:2], replace(REPLICAS[2], state=state)))


@pytest.mark.parametrize(
    ("volume", "report", "health"),
    [
        (WHOLE, REPORT, Health.REDUNDANT),
        (WHOLE, replace(REPORT, held_seconds=0.9), Health.REDUNDANT),
        (WHOLE, replace(REPORT, held_seconds=1.0), Health.WAITING),
        (with_third(ReplicaState.STALE), REPORT, Health.DEGRADED),
        (with_third(ReplicaState.STALE), RECOVERING, Health.REBUILDING),
        (with_third(ReplicaState.REBUILDING), REPORT, Health.REBUILDING),
        (replace(WHOLE, replicas=REPLICAS[:2]), REPORT, Health.DEGRADED),
        (replace(WHOLE, phase=Phase.CREATING), REPORT, Health.CREATING),
        (replace(WHOLE, phase=Phase.DELETING), REPORT, Health.DELETING),
        (replace(WHOLE, phase=Phase.EXPANDING), REPORT, Health.REDUNDANT),
    ],
)
def test_health(volume: Volume, report: ArrayReport, health: Health) -> None:
    assert judge_volume(volume, [report]).health is health


@pytest.mark.parametrize("over", [replace(RECOVERING, epoch=3), replace(RECOVERING, volume_id="v2")])
def test_reports_of_others_and_of_older_epochs_say_nothing(over: ArrayReport) -> None:
    judged = judge_volume(with_third(ReplicaState.STALE), [over])
    assert (judged.health, judged.rebuild) == (Health.DEGRADED, None)


def test_what_is_missing_is_named() -> None:
    (missing,) = judge_volume(with_third(ReplicaState.STALE), []).missing
    assert (missing.id, missing.node) == ("r3", "m3")


def test_a_rebuild_has_percent_rate_and_time_left() -> None:
    judged = judge_volume(with_third(ReplicaState.REBUILDING), [RECOVERING])
    assert describe_rebuild(judged) == "25.0 %, 50 MiB of 200 MiB, 10 MiB/s, 15 s left"
    assert describe(judged) == (
        "rebuilding, 2 of 3 replicas in sync: 25.0 %, 50 MiB of 200 MiB, 10 MiB/s, 15 s left"
    )


def test_nothing_is_made_up_while_nothing_is_known() -> None:
    unknown = Rebuild(("r3",), 0, 0, 0)
    assert (unknown.percent, unknown.seconds_left) == (0.0, None)
    stuck = Rebuild(("r3",), 100, 50, 0)
    assert (stuck.percent, stuck.seconds_left) == (50.0, None)


def test_waiting_writes_are_told() -> None:
    judged = judge_volume(WHOLE, [replace(REPORT, held_seconds=75)])
    assert describe(judged).endswith("writes have been waiting for 1 min 15 s")
