"""Disks taken out of their pools: only empty ones, to the end, and not taken again until somebody says so."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.cordons import WHY_SHUT, Cordon, find_cordon
from replication.control.lifecycle import VolumeRequest
from replication.errors import FailedPrecondition, NotFound, Unavailable
from replication.model import GIB, Disk, NodeFacts, Phase, ReplicaSpec
from tests.fakes.mortal import Died, Fuse, mortal_connect, mortal_store
from tests.unit.control.test_emptying import age, move
from tests.unit.control.test_replacing import Lab

MORE = "/dev/nvme1n1"
NAME = "b/vg-b-nvme1n1"
CORDON = Cordon(NAME, draining=True, disk=MORE)


@pytest.fixture
def lab() -> Lab:
    """Node b has a second disk, in the pool and empty."""
    made = Lab(delay=600.0)
    made.cluster.node("b").more_disks = (MORE,)
    repeat(made)
    return made


def repeat(lab: Lab) -> None:
    """The command that made the pool, by which it takes what came since."""
    lab.control.pools.create("nvme", ("a", "b", "c", "d"), 3)


def pooled(lab: Lab) -> tuple[str, ...]:
    return lab.cluster.node("b").pools["nvme"]


def disk(lab: Lab) -> Disk:
    return next(each for each in lab.cluster.node("b").describe().disks if each.path == MORE)


def pull(lab: Lab, *, restarted: bool) -> None:
    """The agent remembers what was there until it is started anew."""
    node = lab.cluster.node("b")
    node.more_disks = ()
    if restarted:
        node.pools["nvme"] = tuple(path for path in node.pools["nvme"] if path != MORE)


def test_a_disk_leaves_and_is_taken_again_once_it_is_uncordoned(lab: Lab) -> None:
    for _ in range(2):
        assert lab.control.emptying.remove_disk("b", MORE) == CORDON
        assert (pooled(lab), disk(lab).usable) == (("/dev/nvme0n1",), True)
        repeat(lab)
        assert pooled(lab) == ("/dev/nvme0n1",)
    with pytest.raises(NotFound, match="no pool has it"):
        lab.control.emptying.drain_disk("b", MORE)
    for _ in range(2):
        lab.control.emptying.uncordon_disk("b", MORE)
    repeat(lab)
    assert pooled(lab) == ("/dev/nvme0n1", MORE)
    assert lab.control.store.list_cordons() == ()


def test_a_disk_with_replicas_stays_and_is_named_with_them(lab: Lab) -> None:
    words = (
        r"^disk /dev/nvme0n1 of node b holds r1 of volume data0: "
        r"drain it first: `trilith disk drain b /dev/nvme0n1`$"
    )
    with pytest.raises(FailedPrecondition, match=words):
        lab.control.emptying.remove_disk("b", "/dev/nvme0n1")
    assert lab.control.store.list_cordons() == ()
    lab.control.emptying.drain_disk("b", "/dev/nvme0n1")
    move(lab, "d")
    assert lab.control.emptying.remove_disk("b", "/dev/nvme0n1")
    assert pooled(lab) == (MORE,)


def test_a_replica_that_is_placed_meanwhile_keeps_its_disk(lab: Lab) -> None:
    """Whoever chose the disk had not heard of the cordon; it moves away, and the command is repeated."""
    store = lab.control.store
    put = store.put_cordon

    def place_first(cordon: Cordon) -> None:
        store.put_cordon = put  # type: ignore[method-assign]
        place_there(lab, count=1)
        put(cordon)

    store.put_cordon = place_first  # type: ignore[method-assign]
    with pytest.raises(FailedPrecondition, match="holds r0 of volume large"):
        lab.control.emptying.remove_disk("b", MORE)
    assert MORE in pooled(lab)
    assert store.list_cordons() == (CORDON,)


def test_a_replica_that_no_record_knows_keeps_its_disk(lab: Lab) -> None:
    lab.cluster.node("b").ensure_replica(ReplicaSpec("v9", "r0", "vg-b-nvme1n1", GIB, 65536))
    with pytest.raises(FailedPrecondition, match="holds replicas"):
        lab.control.emptying.remove_disk("b", MORE)
    assert MORE in pooled(lab)


def place_there(lab: Lab, count: int = 3) -> str:
    """A volume with a replica on the second disk of b, since the first one is nearly full."""
    node = lab.cluster.node("b")
    node.ensure_replica(ReplicaSpec("v9", "r0", "vg-b", 50 * GIB, 65536))
    nodes = ("b", "a", "c")[:count]
    request = VolumeRequest("large", 60 * GIB, "nvme", count, preferred_nodes=nodes)
    made = lab.control.volumes.create(request)
    assert {r.volume_group for r in made.replicas if r.node == "b"} == {"vg-b-nvme1n1"}
    return made.id


def test_a_stale_replica_stays_with_a_disk_that_lives_and_goes_with_one_that_does_not(lab: Lab) -> None:
    lab.id = place_there(lab)
    lab.control.volumes.attach(lab.id, "a")
    words = f"holds {lab.on('b')} of volume large: drain it first"
    with pytest.raises(FailedPrecondition, match=words):
        lab.control.emptying.remove_disk("b", MORE)
    lab.lose("b")
    with pytest.raises(FailedPrecondition, match=words):
        lab.control.emptying.remove_disk("b", MORE)
    pull(lab, restarted=False)
    assert lab.control.emptying.remove_disk("b", MORE) is None
    age(lab)
    lab.repair()
    lab.finish("d")
    lab.repair()
    assert lab.states() == dict.fromkeys("acd", "in_sync")


def test_what_a_lost_volume_may_be_recovered_from_is_kept_though_its_disk_is_away(lab: Lab) -> None:
    lab.id = place_there(lab)
    lab.control.volumes.attach(lab.id, "a")
    lab.lose("b")
    pull(lab, restarted=False)
    lab.control.records.change(lab.id, lambda v: replace(v, lost_since=1.0))
    with pytest.raises(FailedPrecondition, match=f"holds {lab.on('b')} of volume large"):
        lab.control.emptying.remove_disk("b", MORE)


def test_what_is_in_sync_is_waited_for_though_its_disk_is_away(lab: Lab) -> None:
    """Until the record says otherwise it may come back; unless the volume is being deleted."""
    volume_id = place_there(lab, count=1)
    pull(lab, restarted=False)
    with pytest.raises(FailedPrecondition, match="holds r0 of volume large"):
        lab.control.emptying.remove_disk("b", MORE)
    lab.control.records.change(volume_id, lambda v: replace(v, phase=Phase.DELETING))
    assert lab.control.emptying.remove_disk("b", MORE) is None


@pytest.mark.parametrize("restarted", [False, True], ids=["the same agent", "another agent"])
@pytest.mark.parametrize("act", ["remove", "uncordon"])
def test_of_a_disk_that_was_drained_and_pulled_nothing_is_kept(lab: Lab, restarted: bool, act: str) -> None:
    lab.control.emptying.drain_disk("b", MORE)
    pull(lab, restarted=restarted)
    if act == "remove":
        for _ in range(2):
            assert lab.control.emptying.remove_disk("b", MORE) is None
        assert pooled(lab) == ("/dev/nvme0n1",)
    else:
        lab.control.emptying.uncordon_disk("b", MORE)
    assert lab.control.store.list_cordons() == ()


@pytest.mark.parametrize("removed", ["before", "after", "never"])
def test_another_disk_with_its_path_is_taken_as_any_other(lab: Lab, removed: str) -> None:
    """Also where nobody said that the old one is gone, since a cordon is around a disk and not a path."""
    if removed == "before":
        lab.control.emptying.remove_disk("b", MORE)
    else:
        lab.control.emptying.drain_disk("b", MORE)
    pull(lab, restarted=removed == "never")
    if removed == "after":
        lab.control.emptying.remove_disk("b", MORE)
    node = lab.cluster.node("b")
    node.more_disks, node.exchanged = (MORE,), (MORE,)
    repeat(lab)
    assert pooled(lab) == ("/dev/nvme0n1", MORE)
    assert not any(each.covers("b", disk(lab).volume_group) for each in lab.control.store.list_cordons())
    lab.control.emptying.uncordon_disk("b", MORE)
    assert lab.control.store.list_cordons() == ()


def test_what_no_pool_has_needs_nothing(lab: Lab) -> None:
    calls = len(lab.cluster.node("b").calls)
    assert lab.control.emptying.remove_disk("b", "/dev/sdx") is None
    assert lab.cluster.node("b").calls[calls:] == ["describe"]
    assert lab.control.store.list_cordons() == ()
    with pytest.raises(NotFound, match="node b has no disk /dev/sdx"):
        lab.control.emptying.uncordon_disk("b", "/dev/sdx")
    with pytest.raises(NotFound):
        lab.control.emptying.remove_disk("z", MORE)


def test_a_node_that_does_not_answer_keeps_its_disk(lab: Lab) -> None:
    lab.cluster.node("b").silent = True
    with pytest.raises(Unavailable):
        lab.control.emptying.remove_disk("b", MORE)
    assert lab.control.store.list_cordons() == ()


def test_where_every_disk_is_cordoned_a_pool_says_so(lab: Lab) -> None:
    lab.control.volumes.detach(lab.id)
    lab.control.volumes.delete(lab.id)
    for path in ("/dev/nvme0n1", MORE):
        lab.control.emptying.remove_disk("b", path)
    with pytest.raises(FailedPrecondition, match=f"node b has no usable disk .*{MORE}: {WHY_SHUT}"):
        repeat(lab)
    disks = (("b", MORE),)
    with pytest.raises(FailedPrecondition, match=WHY_SHUT):
        lab.control.pools.create("other", ("b",), 1, disks)


def test_a_node_that_leaves_takes_the_cordons_of_its_disks_with_it(lab: Lab) -> None:
    lab.control.emptying.remove_disk("b", MORE)
    lab.control.emptying.cordon("b", draining=True)
    move(lab, "d")
    lab.control.emptying.remove("b")
    assert lab.control.store.list_cordons() == ()


@pytest.mark.parametrize("pulled", [False, True])
def test_a_removal_that_was_killed_at_any_call_is_ended_by_a_repeat(pulled: bool) -> None:
    for calls in range(40):
        lab = Lab(delay=600.0)
        lab.cluster.node("b").more_disks = (MORE,)
        repeat(lab)
        lab.control.emptying.drain_disk("b", MORE)
        if pulled:
            pull(lab, restarted=False)
        fuse = Fuse(calls)
        connect = mortal_connect(lab.cluster.connect, fuse)
        mortal = build_control(mortal_store(lab.control.store, fuse), connect, SystemClock())
        died = dies(partial(mortal.emptying.remove_disk, "b", MORE))
        lab.control.emptying.remove_disk("b", MORE)
        assert pooled(lab) == ("/dev/nvme0n1",)
        assert lab.control.store.list_cordons() == (() if pulled else (CORDON,))
        if not died:
            return
    pytest.fail("it takes more than 40 calls")


def dies(act: Callable[[], object]) -> bool:
    try:
        act()
    except Died:
        return True
    return False


def test_a_cordon_follows_its_disk_and_not_its_path() -> None:
    """Paths are given anew with each boot."""
    first, second = (
        Disk(f"/dev/{name}", "", "", GIB, usable=True, volume_group=name) for name in ("sda", "sdb")
    )
    cordon, other = Cordon("b/sda", disk="/dev/sda"), Cordon("c/sdc", disk="/dev/sda")

    def find(path: str, *disks: Disk) -> Cordon | None:
        facts = NodeFacts("b", "cluster", "boot", "6.12", True, disks, (), (), ())
        return find_cordon(facts, path, (cordon, other))

    assert find("/dev/sda", first, second) == cordon
    assert find("/dev/sda", second) == cordon
    swapped = (replace(first, path="/dev/sdb"), replace(second, path="/dev/sda"))
    assert find("/dev/sda", *swapped) is None
    assert find("/dev/sdb", *swapped) == cordon
    assert find("/dev/sdc", *swapped) is None
