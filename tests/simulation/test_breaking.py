"""What may break: not the only disk that holds everything, nor one that is about to be."""

from dataclasses import replace

from replication.model import ArrayReport, MemberHealth
from tests.simulation.breaking import NODES
from tests.simulation.lockstep import in_lockstep
from tests.simulation.storm import Storm

OF_THREE = 2  # a seed with a volume of three replicas, whose writes have to be on one
CONSUMER = "a"


def test_the_last_disk_is_needed_that_reports_under_way_leave() -> None:
    """Each blames another replica, and either may arrive first."""
    storm, volume_id, report = attached()
    first, second, third = (m.replica_id for m in report.members)
    assert list_needed(storm, volume_id) == []
    storm._mail = [(CONSUMER, blaming(report, first))]
    assert list_needed(storm, volume_id) == []
    storm._mail.append((CONSUMER, blaming(report, second)))
    assert list_needed(storm, volume_id) == [third]


def test_what_a_report_of_an_epoch_that_is_over_says_counts_for_nothing() -> None:
    storm, volume_id, report = attached()
    first, second, _ = (m.replica_id for m in report.members)
    over = replace(report, epoch=report.epoch - 1)
    storm._mail = [(CONSUMER, blaming(over, first)), (CONSUMER, blaming(over, second))]
    assert list_needed(storm, volume_id) == []


def test_a_report_that_is_refused_counts_for_nothing() -> None:
    """An agent that was started again, and whose array the record knows nothing of."""
    storm, volume_id, report = attached()
    strangers = (replace(report.members[0], replica_id="r9"),)
    storm._mail = [(CONSUMER, replace(report, record_version=0, members=strangers))]
    assert list_needed(storm, volume_id) == []


def attached() -> tuple[Storm, str, ArrayReport]:
    """A run in which a volume is attached and well, and what its agent reports of that."""
    with in_lockstep():
        storm = Storm(OF_THREE)
        kind = storm.climate.volumes[0]
        assert (kind.replicas, kind.minimum) == (3, 1)
        volume_id = storm._ids[0]
        storm._processes[0].control.volumes.attach(volume_id, CONSUMER)
    (array,) = storm._machines.plant(volume_id).arrays
    return storm, volume_id, storm._cluster.sim[CONSUMER].look(volume_id, array)


def blaming(report: ArrayReport, replica: str) -> ArrayReport:
    members = (replace(m, health=MemberHealth.LOST) if m.replica_id == replica else m for m in report.members)
    return replace(report, members=tuple(members))


def list_needed(storm: Storm, volume_id: str) -> list[str]:
    """Replicas on disks that must not break now."""
    replicas = storm._store.get_volume(volume_id).volume.replicas
    return [r.id for r in replicas if storm._is_needed_by(volume_id, NODES.index(r.node))]
