"""How volumes are attached, bounded, listed and spread, over nodes that behave."""

import pytest

from replication.control import rooms
from replication.errors import AlreadyExists, NotFound, OutOfSpace, Unavailable
from replication.model import MIB, Limits
from tests.unit.control.test_volumes import make, wanted


def test_a_volume_is_attached_read_only_or_writable_and_not_both() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    device = control.volumes.attach(volume.id, "a", readonly=True)
    assert control.volumes.attach(volume.id, "a", readonly=True) == device
    assert cluster.node("a").arrays[volume.id].spec.readonly
    with pytest.raises(AlreadyExists, match="attached to node a already, read-only"):
        control.volumes.attach(volume.id, "a")
    control.volumes.detach(volume.id)
    control.volumes.attach(volume.id, "a")
    assert not cluster.node("a").arrays[volume.id].spec.readonly
    with pytest.raises(AlreadyExists, match="attached to node a already, writable"):
        control.volumes.attach(volume.id, "a", readonly=True)


def test_limits_change_while_a_volume_is_in_use_and_are_no_part_of_its_meaning() -> None:
    _, control = make()
    volume = control.volumes.create(wanted(limits=Limits("basic")))
    control.volumes.attach(volume.id, "a")
    changed = control.volumes.modify(volume.id, lambda limits: Limits("premium", limits.read_operations + 5))
    assert changed.limits == control.volumes.get(volume.id).limits == Limits("premium", 5)
    assert control.volumes.create(wanted(limits=Limits("basic"))).id == volume.id
    with pytest.raises(NotFound):
        control.volumes.modify("v0123456789abcdef", lambda limits: limits)


def test_pages_are_by_id_and_end() -> None:
    _, control = make()
    ids = sorted(control.volumes.create(wanted(f"data-{number}", 4 * MIB)).id for number in range(5))
    first = [volume.id for volume in control.volumes.list_page("", 3)]
    rest = [volume.id for volume in control.volumes.list_page(first[-1], 3)]
    assert first + rest == ids
    assert control.volumes.list_page(ids[-1], 3) == ()


def test_replicas_are_spread_over_zones_and_over_what_is_asked_for() -> None:
    _, control = make(["a", "b", "c", "d"])
    for node, zone in (("a", "1"), ("b", "1"), ("c", "2"), ("d", "3")):
        control.nodes.label(node, {"topology.kubernetes.io/zone": zone})
    volume = control.volumes.create(wanted(preferred_nodes=("b",)))
    assert {r.node for r in volume.replicas} == {"b", "c", "d"}
    with pytest.raises(OutOfSpace, match="each in a domain of its own"):
        control.volumes.create(wanted("racks", spread="rack"))
    assert control.volumes.find_largest(wanted(spread="rack")) == 0


def test_the_largest_volume_can_be_made() -> None:
    _, control = make()
    largest = control.volumes.find_largest(wanted())
    assert control.volumes.create(wanted(size_bytes=largest)).size_bytes == largest
    assert control.volumes.find_largest(wanted()) == 0


def test_room_on_nodes_that_are_silent_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "LATELY", 0.0)
    cluster, control = make(["a", "b", "c", "d"])
    cluster.node("b").silent = True
    assert control.volumes.find_largest(wanted()) > 0
    cluster.node("c").silent = True
    assert control.volumes.find_largest(wanted()) == 0


def test_limits_hold_from_the_attachment_on_and_change_with_the_record() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted(limits=Limits("basic", read_operations=500)))
    control.volumes.attach(volume.id, "a")
    bounds = cluster.node("a").limits
    assert bounds[volume.id] == Limits("basic", 500, 45_000)
    control.volumes.modify(volume.id, lambda _: Limits("premium"))
    assert bounds[volume.id] == Limits("premium", 550_000, 180_000)


def test_limits_that_could_not_be_set_are_set_by_a_repeat() -> None:
    cluster, control = make()
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    cluster.node("a").silent = True
    with pytest.raises(Unavailable):
        control.volumes.modify(volume.id, lambda _: Limits("basic"))
    cluster.node("a").silent = False
    control.volumes.modify(volume.id, lambda limits: limits)
    assert cluster.node("a").limits[volume.id].tier == "basic"


def test_where_there_are_no_workloads_a_volume_is_attached_all_the_same_and_that_is_told() -> None:
    cluster, control = make()
    cluster.node("a").has_workloads = False
    volume = control.volumes.create(wanted())
    control.volumes.attach(volume.id, "a")
    assert "not-bounded" not in {event.kind for event in control.events.list(volume.id)}
    control.volumes.modify(volume.id, lambda _: Limits("basic"))
    assert "not-bounded" in {event.kind for event in control.events.list(volume.id)}
