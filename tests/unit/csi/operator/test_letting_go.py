"""Which nodes may be stopped."""

from dataclasses import replace

from csi.operator.letting_go import Candidate, Ground, choose_waits, count_needed
from replication.model import Phase, Volume
from tests.unit.control.records import volume


def ground(*volumes: Volume, open_nodes: str = "", down: str = "") -> Ground:
    return Ground(volumes, {"nvme": frozenset(open_nodes)}, frozenset(down))


def stay(node: str, *, gone: bool = False, allowed: bool = False) -> Candidate:
    return Candidate(node, leaves=False, gone=gone, allowed=allowed)


def may_go(candidates: list[Candidate], where: Ground) -> str:
    return "".join(sorted(node for node, waits in choose_waits(candidates, where).items() if not waits))


def test_of_several_cordoned_nodes_one_at_a_time_goes() -> None:
    assert may_go([stay("a")], ground(volume())) == "a"
    assert may_go([stay("a"), stay("b"), stay("c")], ground(volume())) == "a"
    assert choose_waits([stay("a"), stay("b")], ground(volume()))["b"] == (
        "volume data: 1 in sync on nodes that stay, 2 needed"
    )


def test_who_was_allowed_first_stays_allowed() -> None:
    assert may_go([stay("a"), stay("b", allowed=True)], ground(volume())) == "b"


def test_a_node_that_was_let_go_counts_as_away_until_it_is_uncordoned() -> None:
    assert may_go([stay("a"), stay("c", gone=True, allowed=True)], ground(volume())) == "c"
    (replica,) = volume("i").replicas
    alone = replace(volume("i"), id="v1", replicas=(replace(replica, node="c"),))
    assert may_go([stay("a"), stay("c")], ground(volume(), alone)) == "a"
    assert may_go([stay("a"), stay("c", gone=True)], ground(volume(), alone)) == "c", "somebody insisted"


def test_a_node_that_does_not_answer_keeps_the_others() -> None:
    assert may_go([stay("a")], ground(volume(), down="b")) == ""
    assert may_go([stay("b")], ground(volume(), down="b")) == "b"


def test_a_stale_replica_keeps_the_others_and_may_go_itself() -> None:
    assert may_go([stay("a")], ground(volume("isi"))) == ""
    assert may_go([stay("b")], ground(volume("isi"))) == "b"
    assert may_go([stay("b")], ground(volume("iri"))) == "b"


def test_nodes_without_a_volume_in_common_go_at_once() -> None:
    other = replace(volume(), id="v1", replicas=())
    here = volume("iii")
    there = replace(
        other,
        replicas=tuple(replace(r, node=n) for r, n in zip(here.replicas, "xyz", strict=True)),
    )
    assert may_go([stay("a"), stay("x")], ground(here, there)) == "ax"


def test_a_volume_of_one_replica_never_lets_its_node_go() -> None:
    assert may_go([stay("a")], ground(volume("i"))) == ""
    assert may_go([stay("b")], ground(volume("i"))) == "b"


def test_a_minimum_of_replicas_in_sync_is_kept() -> None:
    assert count_needed(volume(min_in_sync=3)) == 3
    assert may_go([stay("a")], ground(volume(min_in_sync=3))) == ""
    assert count_needed(volume("iiiii")) == 4


def test_what_leaves_for_good_waits_until_what_can_move_has_moved() -> None:
    leaving = Candidate("a", leaves=True)
    assert choose_waits([leaving], ground(volume(), open_nodes="bcd"))["a"] == (
        "volume data: its replica moves first"
    )
    assert may_go([leaving], ground(volume(), open_nodes="bc")) == "a"
    assert may_go([leaving], ground(volume(), open_nodes="bcd", down="d")) == "a"


def test_volumes_that_are_made_or_deleted_keep_nobody() -> None:
    gone = [volume("i", phase=phase) for phase in (Phase.CREATING, Phase.DELETING)]
    assert may_go([stay("a")], ground(*gone)) == "a"
