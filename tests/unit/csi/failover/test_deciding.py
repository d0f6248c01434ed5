"""What is done about a node, for everything that can be seen of it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest

from csi.failover.deciding import (
    Confirm,
    Fence,
    Free,
    Kubelet,
    Mark,
    NodeView,
    Plan,
    Pod,
    Policy,
    Retire,
    Sighting,
    VolumeThere,
    Welcome,
    choose_steps,
    is_gone,
    parse_policy,
)

LEASE, PEERS = Policy(), Policy(confirm=Confirm.PEERS)
OFF = Policy(enabled=False)
LONG = 1000.0
SILENT = Sighting("m1", answers_us=False, missed_by=frozenset({"m2", "m3"}), silent_seconds=60.0)
HEARD = Sighting("m1", answers_us=False, heard_by=frozenset({"m2"}), missed_by=frozenset({"m3"}))
ANSWERS = Sighting("m1", answers_us=True)
EXPIRED = Kubelet(ready=False, lease_over_seconds=5.0, unrenewed_seconds=45.0)
WELL = Kubelet(ready=True, lease_over_seconds=-30.0)
POD = Pod("shop", "db-0", "u1", frozenset({"data"}))
HELD = VolumeThere("v1", ("shop", "data"), held=True, in_use=True)
FENCED = replace(HELD, held=False)
WAITED_FOR = replace(FENCED, in_use=False, attached=False)
OTHER = VolumeThere("v2", ("shop", "more"), held=True, in_use=True)
DEAD = NodeView(SILENT, EXPIRED, volumes=(HELD,), pods=(POD,))
MARKED = replace(DEAD, marked=True)


def plan(*views: NodeView, total: int = 3, policy: Policy = LEASE, since: float = LONG) -> Plan:
    return choose_steps(views, total, policy, since)


def test_a_dead_node_is_marked_before_anything_else() -> None:
    (step,) = plan(DEAD).steps
    assert isinstance(step, Mark)
    assert step.why == "neither we nor m2, m3 have heard it for 60 s, its kubelet's Lease ran out 5 s ago"


def test_then_its_volumes_are_fenced_and_only_then_its_pods_are_freed() -> None:
    assert plan(MARKED).steps == (Fence("m1", "v1"),)
    fenced = replace(MARKED, volumes=(FENCED,))
    assert plan(fenced).steps == (Free("m1", ("v1",), (POD,), force=True), Retire("m1"))


def test_a_pod_with_a_volume_that_is_not_fenced_is_left_alone() -> None:
    both = replace(POD, claims=frozenset({"data", "more"}))
    view = replace(MARKED, volumes=(FENCED, OTHER), pods=(both,))
    assert plan(view).steps == (Free("m1", ("v1",), (), force=True), Fence("m1", "v2"))


def test_pods_of_other_namespaces_with_claims_of_that_name_are_left_alone() -> None:
    stranger = replace(POD, namespace="bank")
    (free, _) = plan(replace(MARKED, volumes=(FENCED,), pods=(stranger, POD))).steps
    assert isinstance(free, Free)
    assert free.pods == (POD,)


def test_a_pod_that_was_put_on_a_dead_node_does_not_wait_for_its_volume_there() -> None:
    waiting = replace(DEAD, volumes=(WAITED_FOR,))
    (step,) = plan(waiting).steps
    assert isinstance(step, Mark)
    freed = Free("m1", (), (POD,), force=True)
    assert plan(replace(waiting, marked=True)).steps == (freed, Retire("m1"))


def test_nor_does_it_when_the_attachment_has_been_begun() -> None:
    """The attempts follow one another, and the record names the node in each."""
    begun = replace(MARKED, volumes=(replace(WAITED_FOR, held=True),))
    assert plan(begun).steps == (Free("m1", (), (POD,), force=True), Fence("m1", "v1"))
    both = replace(POD, claims=frozenset({"data", "more"}))
    other = replace(begun, volumes=(WAITED_FOR, OTHER), pods=(both,))
    assert plan(other).steps == (Free("m1", (), (), force=True), Fence("m1", "v2"))


def test_on_a_node_that_is_back_it_waits_on() -> None:
    back = replace(MARKED, sighting=ANSWERS, kubelet=WELL, volumes=(WAITED_FOR,), leftovers=True)
    assert plan(back).steps == ()
    assert plan(replace(back, leftovers=False)).steps == (Welcome("m1"),)


@pytest.mark.parametrize(
    "change",
    [
        {"foreign": True},
        {"out_of_service": True},
        {"kubelet": replace(EXPIRED, ready=True)},
        {"volumes": (FENCED, OTHER)},
    ],
)
def test_a_node_is_out_of_service_only_when_that_hurts_nobody(change: dict[str, object]) -> None:
    view = replace(MARKED, volumes=(FENCED,))
    assert Retire("m1") in plan(view).steps
    assert Retire("m1") not in plan(replace(view, **change)).steps  # type: ignore[arg-type]


def test_the_peers_word_alone_does_not_retire_a_node() -> None:
    """Its kubelet may be well: other pods go on there."""
    view = replace(MARKED, kubelet=WELL, volumes=(FENCED,))
    assert plan(view, policy=PEERS).steps == (Free("m1", ("v1",), (POD,), force=True),)


@pytest.mark.parametrize(
    "kubelet",
    [
        WELL,
        replace(EXPIRED, unrenewed_seconds=14.0),  # clocks may be apart
        replace(EXPIRED, lease_over_seconds=-1.0),
        Kubelet(ready=True, lease_over_seconds=None),
    ],
)
def test_without_a_lease_that_ran_out_the_peers_alone_do_not_suffice(kubelet: Kubelet) -> None:
    assert plan(replace(DEAD, kubelet=kubelet)).steps == ()
    (step,) = plan(replace(DEAD, kubelet=kubelet), policy=PEERS).steps
    assert isinstance(step, Mark)


def test_a_node_without_a_lease_counts_when_it_is_not_ready() -> None:
    assert is_gone(replace(DEAD, kubelet=Kubelet(ready=False, lease_over_seconds=None)), 3, LEASE)


@pytest.mark.parametrize(
    "sighting",
    [
        ANSWERS,
        HEARD,
        replace(SILENT, answers_us=True),
        replace(SILENT, missed_by=frozenset({"m2"})),  # the other peer does not know it
        replace(SILENT, missed_by=frozenset()),
        replace(SILENT, silent_seconds=4.0),
    ],
)
@pytest.mark.parametrize("policy", [LEASE, PEERS])
def test_a_lease_that_ran_out_is_not_enough_either(sighting: Sighting, policy: Policy) -> None:
    assert plan(replace(DEAD, sighting=sighting), policy=policy).steps == ()


def test_in_a_cluster_of_two_one_witness_is_all_there_is() -> None:
    seen = replace(SILENT, missed_by=frozenset({"m2"}))
    assert is_gone(replace(DEAD, sighting=seen), 2, LEASE)
    assert not is_gone(replace(DEAD, sighting=replace(seen, missed_by=frozenset())), 2, LEASE)


def views_of(count: int) -> list[NodeView]:
    return [replace(DEAD, sighting=replace(SILENT, node=f"n{number}")) for number in range(count)]


@pytest.mark.parametrize(("silent", "total"), [(1, 2), (2, 5), (3, 8), (4, 11)])
def test_nothing_is_begun_while_more_than_a_third_is_silent(silent: int, total: int) -> None:
    found = plan(*views_of(silent), total=total)
    assert found.steps == ()
    assert found.held.startswith(f"{silent} of {total} nodes are silent at once: n0")
    assert set(found.waiting) == {view.name for view in views_of(silent)}
    marked = [replace(view, marked=True) for view in views_of(silent)]
    assert plan(*marked, total=total).steps == ()


@pytest.mark.parametrize(("silent", "total"), [(1, 3), (2, 6), (3, 9)])
def test_up_to_a_third_one_node_is_marked_at_a_time(silent: int, total: int) -> None:
    views = views_of(silent)
    (step,) = plan(*views, total=total).steps
    assert isinstance(step, Mark)
    assert plan(*views, total=total, since=9.0).steps == ()


def test_a_silent_node_without_volumes_of_ours_counts_but_is_not_touched() -> None:
    bare = replace(DEAD, volumes=(), pods=())
    assert plan(bare) == Plan()
    first, *others = views_of(2)
    assert plan(first, *(replace(view, volumes=()) for view in others), total=3).steps == ()


def test_switched_off_nothing_is_begun_but_what_was_is_ended() -> None:
    assert plan(DEAD, policy=OFF) == Plan((), "fail-over is switched off", ("m1",))
    assert plan(MARKED, policy=OFF).steps == ()
    fenced = replace(MARKED, volumes=(FENCED,))
    assert plan(fenced, policy=OFF).steps == (Free("m1", ("v1",), (POD,), force=True),)


def test_a_node_that_is_back_keeps_what_was_not_fenced_and_is_freed_of_the_rest() -> None:
    back = replace(MARKED, sighting=ANSWERS, kubelet=WELL, leftovers=True)
    freed = replace(back, volumes=(FENCED, OTHER))
    assert plan(freed).steps == (Free("m1", (), (POD,), force=False),)
    assert plan(replace(back, volumes=(OTHER,))).steps == ()
    assert plan(replace(back, volumes=(OTHER,), leftovers=False)).steps == (Welcome("m1"),)


def test_on_a_node_that_is_back_a_pod_of_a_fenced_volume_is_freed_whatever_else_it_uses() -> None:
    """Its kubelet takes the other one off: without that the pod would wait, and the taint stay, for ever."""
    both = replace(POD, claims=frozenset({"data", "more"}))
    back = replace(MARKED, sighting=ANSWERS, kubelet=WELL, volumes=(FENCED, OTHER), pods=(both,))
    assert plan(back).steps == (Free("m1", (), (both,), force=False),)


def test_a_node_whose_clock_is_behind_is_well_by_the_renewals_that_are_seen() -> None:
    behind = Kubelet(ready=True, lease_over_seconds=90.0, unrenewed_seconds=3.0, renewed=True)
    back = replace(MARKED, sighting=ANSWERS, kubelet=behind, volumes=(), leftovers=False)
    assert plan(back).steps == (Welcome("m1"),)
    for doubtful in ({"renewed": False}, {"unrenewed_seconds": 15.0}, {"ready": False}):
        kubelet = replace(behind, **doubtful)
        assert plan(replace(back, kubelet=kubelet)).steps == ()


def test_a_node_whose_clock_was_ahead_when_it_died_is_given_up_all_the_same() -> None:
    """By the clocks its Lease holds for another hour."""
    ahead = Kubelet(ready=False, lease_over_seconds=-3600.0, unrenewed_seconds=40.0, lasts_seconds=40.0)
    (step,) = plan(replace(DEAD, kubelet=ahead)).steps
    assert isinstance(step, Mark)
    assert step.why.endswith("heard it for 60 s, its kubelet's Lease has not been renewed for 40 s")
    assert plan(replace(DEAD, kubelet=replace(ahead, unrenewed_seconds=39.0))).steps == ()
    assert Retire("m1") in plan(replace(MARKED, kubelet=ahead, volumes=(FENCED,))).steps
    undecided = replace(MARKED, sighting=HEARD, kubelet=replace(ahead, ready=True), volumes=(FENCED,))
    assert plan(undecided).steps == ()


def test_a_node_of_which_nobody_knows_is_left_as_it_is() -> None:
    """Its agent is back, its kubelet not; or the other way round."""
    fenced = replace(MARKED, volumes=(FENCED,), leftovers=False)
    assert plan(replace(fenced, sighting=ANSWERS)).steps == ()
    assert plan(replace(fenced, sighting=HEARD, kubelet=WELL, volumes=())).steps == ()


def every_view() -> Iterator[NodeView]:
    sightings = (SILENT, HEARD, ANSWERS, replace(SILENT, missed_by=frozenset()))
    kubelets = (EXPIRED, WELL, Kubelet(ready=False, lease_over_seconds=None), replace(EXPIRED, ready=True))
    volumes = ((), (HELD,), (FENCED,), (FENCED, OTHER), (replace(FENCED, in_use=False),), (WAITED_FOR,))
    flags = product((False, True), repeat=4)
    for seen, kubelet, there, (marked, retired, foreign, left) in product(
        sightings, kubelets, volumes, list(flags)
    ):
        yield NodeView(seen, kubelet, marked, retired, foreign, left, there, (POD,))


@pytest.mark.parametrize("policy", [LEASE, PEERS, OFF])
def test_whatever_is_seen_the_order_and_the_bounds_hold(policy: Policy) -> None:
    for view in every_view():
        steps = plan(view, policy=policy).steps
        held = {volume.id for volume in view.volumes if volume.held}
        assert view.marked or all(isinstance(step, Mark) for step in steps), "marked first"
        assert not steps or view.marked or is_gone(view, 3, policy)
        for step in steps:
            match step:
                case Free():
                    assert not held & set(step.volume_ids), "fenced first"
                    assert not step.force or is_gone(view, 3, policy)
                case Fence():
                    assert is_gone(view, 3, policy)
                    assert policy.enabled
                case Retire():
                    assert not view.kubelet.ready
                    assert not view.foreign
                case Welcome():
                    assert view.sighting.answers_us
                    assert view.kubelet == WELL


def test_an_installation_says_it_in_a_word() -> None:
    assert parse_policy("lease") == LEASE
    assert parse_policy("peers") == PEERS
    assert parse_policy("off") == OFF
