"""Which replicas are brought back, how, and which are left alone."""

from dataclasses import replace

import pytest

from replication.control import rebuild
from replication.model import GIB, Attachment, CopyMode, MemberHealth, Phase, Prepared, Volume
from tests.unit.control.records import detached, facts, header, report, volume


@pytest.mark.parametrize(
    ("mode", "boot", "volatile", "copy"),
    [
        (CopyMode.FULL, "boot-1", False, CopyMode.FULL),
        (CopyMode.BITMAP, "boot-2", True, CopyMode.BITMAP),
        (CopyMode.UNLESS_BOOTED, "boot-1", True, CopyMode.BITMAP),
        (CopyMode.UNLESS_BOOTED, "boot-2", False, CopyMode.BITMAP),
        (CopyMode.UNLESS_BOOTED, "boot-2", True, CopyMode.FULL),
    ],
)
def test_a_volatile_disk_that_booted_is_copied_in_full(
    mode: CopyMode, boot: str, volatile: bool, copy: CopyMode
) -> None:
    replica = replace(volume().replicas[1], copy=mode)
    assert rebuild.choose_copy(replica, boot, volatile=volatile) is copy


def test_a_replica_comes_back_also_before_an_expansion_has_ended() -> None:
    """Writes may wait for it, and the expansion for a node that does not answer."""
    growing = volume(
        "iss", phase=Phase.EXPANDING, size_bytes=2 * GIB, target_size_bytes=2 * GIB, grown_from=GIB
    )
    found = {"b": facts("b", header()), "c": facts("c", header("r2", "c", size_bytes=2 * GIB))}
    chosen, *_ = rebuild.list_rebuilds(growing, found)
    assert (chosen.replica.id, chosen.grow) == ("r1", True)


def test_the_quickest_is_brought_back_first_and_one_at_a_time() -> None:
    record = volume("iss")
    first = replace(record.replicas[1], copy=CopyMode.FULL)
    record = replace(record, replicas=(record.replicas[0], first, record.replicas[2]))
    found = {"b": facts("b", header()), "c": facts("c", header("r2", "c", size_bytes=GIB // 2))}
    plans = [(plan.replica.id, plan.copy, plan.grow) for plan in rebuild.list_rebuilds(record, found)]
    assert plans == [("r2", CopyMode.BITMAP, True), ("r1", CopyMode.FULL, False)]
    assert rebuild.list_rebuilds(volume("isr"), found) == ()
    assert rebuild.list_rebuilds(detached("iss"), found) == ()
    assert rebuild.list_rebuilds(record, {}) == ()


@pytest.mark.parametrize(
    ("boot", "suspect", "copy", "says"),
    [
        ("boot-1", False, CopyMode.BITMAP, ""),
        ("boot-2", False, CopyMode.FULL, "booted"),
        ("boot-1", True, CopyMode.BITMAP, "refused a write"),
        ("boot-1", True, CopyMode.FULL, ""),
    ],
)
def test_what_a_plan_did_not_know_of(boot: str, suspect: bool, copy: CopyMode, says: str) -> None:
    prepared = Prepared(header(suspect=suspect), boot, None)
    found = rebuild.find_surprise("boot-1", copy, prepared)
    assert says in found if says else not found


def test_a_suspect_replica_is_copied_in_full() -> None:
    (plan,) = rebuild.list_rebuilds(volume("is"), {"b": facts("b", header(suspect=True))})
    assert plan.copy is CopyMode.FULL


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (facts("b"), "does not have it"),
        (facts("b", header(volume_group="vg-x")), "lies on vg-x"),
        (facts("b", header(epoch=9)), "header has epoch 9"),
    ],
)
def test_what_is_not_that_replica_is_never_touched(found: object, why: str) -> None:
    record = volume("is")
    assert why in str(rebuild.find_refusal(record, record.replicas[1], found))  # type: ignore[arg-type]
    assert rebuild.list_rebuilds(record, {"b": found}) == ()  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("consumer", "crowded"),
    [("a", "ab"), ("c", "bc"), ("b", "abc"), ("e", "abce")],
    ids=["its own is in sync", "so is another's own", "its own is copied to", "it has none"],
)
def test_a_copy_counts_at_its_ends_and_wherever_md_may_read(consumer: str, crowded: str) -> None:
    under_way = volume("iri", consumer=consumer)
    assert {node for node in "abcde" if crowd([under_way], alone_on(node, "s"))} == set(crowded)
    assert crowd([under_way, under_way], alone_on("b", "s"), limit=2) == "b"
    assert crowd([under_way], alone_on("b", "s"), limit=2) is None


def test_a_copy_waits_for_every_node_that_it_may_be_read_from() -> None:
    remote, local = volume("sii", consumer="e"), volume("sii", consumer="b")
    assert [crowd([alone_on(node, "r")], remote) for node in "abce"] == list("abce")
    assert crowd([alone_on("c", "r")], local) is None


def alone_on(node: str, state: str) -> Volume:
    """A volume that is copied on one node only."""
    one = volume(state, consumer=node)
    return replace(one, replicas=(replace(one.replicas[0], node=node),))


def crowd(others: list[Volume], record: Volume, limit: int = 1) -> str | None:
    """When the first replica of `record` is to come back."""
    return rebuild.find_crowd(rebuild.count_copies(others), record, record.replicas[0], limit)


def test_a_rebuild_that_the_array_does_not_know_is_stuck() -> None:
    good, dropped, recovering = MemberHealth.GOOD, MemberHealth.DROPPED, MemberHealth.RECOVERING
    assert rebuild.choose_stuck(volume("ir"), report(good)) == ("r1",)
    assert rebuild.choose_stuck(volume("ir"), report(good, dropped)) == ("r1",)
    assert rebuild.choose_stuck(volume("ir"), report(good, good)) == ("r1",)
    assert rebuild.choose_stuck(volume("ir"), report(good, recovering)) == ()
    assert rebuild.choose_stuck(volume("ir"), report(good, epoch=0)) == ()
    assert rebuild.choose_stuck(volume("ir"), None) == ()
    assert rebuild.choose_stuck(volume("ir", attachment=Attachment.DETACHING), report(good)) == ()


@pytest.mark.parametrize(
    ("record", "superseded"),
    [
        (volume(), False),
        (volume(consumer="b"), True),
        (volume(epoch=2), True),
        (volume(epoch=0), False),
        (detached(), True),
        (None, True),
    ],
)
def test_arrays_that_the_record_gave_up_are_abandoned(record: Volume | None, superseded: bool) -> None:
    found = facts("a", arrays=(report(),))
    known = {} if record is None else {"v0": record}
    assert bool(rebuild.choose_superseded(found, known)) is superseded


@pytest.mark.parametrize(
    ("record", "found", "kept"),
    [
        (None, header(epoch=0), ""),
        (None, header(epoch=1), "has been attached"),
        (volume("iii"), header("r1", "b", epoch=9), "header has epoch 9"),
        (volume("iii"), header("r7", "b"), "never made"),
        (volume("iii"), header("x", "b"), "never made"),
        (volume("i", next_replica=3), header("r1", "b"), ""),
    ],
)
def test_only_what_was_surely_given_up_is_removed(record: Volume | None, found: object, kept: str) -> None:
    known = {} if record is None else {"v0": record}
    (orphan,) = rebuild.choose_orphans(facts("z", found), known, "cluster")  # type: ignore[arg-type]
    assert kept in orphan.keep
    assert bool(kept) == bool(orphan.keep)


def test_replicas_that_are_named_or_of_another_cluster_are_no_orphans() -> None:
    assert rebuild.choose_orphans(facts("b", header()), {"v0": volume()}, "cluster") == ()
    assert rebuild.choose_orphans(facts("b", header(), cluster="other"), {}, "cluster") == ()


def test_a_replica_that_has_not_heard_of_the_fence_is_told() -> None:
    given_up = {"v0": detached("sii", epoch=2, resync_source="r1")}
    assert rebuild.choose_unfenced(given_up, {"b": facts("b", header())}) == ("v0",)
    assert rebuild.choose_unfenced(given_up, {"b": facts("b", header(epoch=2)), "c": facts("c")}) == ()
    assert rebuild.choose_unfenced({"v0": volume()}, {"b": facts("b", header(epoch=0))}) == ()
