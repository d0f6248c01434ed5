"""What is said of pools."""

from csi.operator.choosing import Choice
from csi.operator.conditions import READY, Condition, find_condition, to_conditions
from csi.operator.judging import (
    Sight,
    add_up,
    judge_deletion,
    judge_pool,
    judge_refusal,
    judge_room,
    shorten,
)
from replication.model import GIB, Pool
from tests.unit.csi.operator.values import facts, pool

RECORD = Pool("nvme", ("a", "b", "c"), 3)
TAKEN = {"/dev/nvme0n1": "nvme", "/dev/nvme1n1": "other"}


def room(node: str, **changes: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return judge_room("nvme", node, Sight(facts(node, pools=TAKEN), **changes), {})  # type: ignore[arg-type]


def test_room_is_that_of_the_pools_own_disks() -> None:
    found = room("a")
    assert found.sizes == {
        "capacity": 100 * GIB,
        "available": 60 * GIB,
        "used": 30 * GIB,
        "reserved": 10 * GIB,
    }
    assert found.ready == Condition(READY, True, "Usable", "1 of its disks: /dev/nvme0n1")
    assert add_up([found, room("b")])["capacity"] == 200 * GIB


def test_a_silent_node_keeps_the_sizes_that_were_known() -> None:
    found = judge_room("nvme", "a", Sight(None, "gone"), {"capacity": 7})
    assert (found.sizes, found.ready.met, found.ready.reason) == ({"capacity": 7}, None, "NodeSilent")


def test_what_a_node_said_a_moment_ago_counts_still() -> None:
    spoken = room("a")
    assert judge_room("nvme", "a", Sight(None, "busy", facts("a", pools=TAKEN)), {"capacity": 7}) == spoken
    cordoned = judge_room("nvme", "a", Sight(None, "busy", facts("a", pools=TAKEN), cordoned=True), {})
    assert cordoned.ready.reason == "Cordoned"


def test_why_a_node_gives_nothing() -> None:
    bare = judge_room("nvme", "a", Sight(facts("a"), failure="no such disk"), {})
    assert (bare.ready.reason, bare.ready.message) == ("NoDisk", "no such disk")
    assert room("a", cordoned=True).ready.reason == "Cordoned"
    assert room("a", failure="it holds ext4").ready.reason == "DiskRefused"
    assert room("a", taking=True).ready == Condition(READY, True, "Taking", "its disks are being taken")


def test_a_pool_is_ready_when_a_volume_can_be_placed() -> None:
    rooms = [room("a"), room("b"), room("c")]
    assert judge_pool(pool(), Choice(), RECORD, rooms).met
    told = judge_pool(pool(), Choice(), RECORD, [*rooms[:2], room("c", cordoned=True)])
    assert (told.met, told.reason) == (False, "NotEnoughNodes")
    assert told.message == (
        "3 replicas need 3 nodes, 2 can be used; node c: it is cordoned or drained: it gets no new replicas"
    )


def test_a_pool_that_is_being_made_says_so() -> None:
    taking = judge_room("nvme", "c", Sight(facts("c"), taking=True), {})
    assert judge_pool(pool(), Choice(), RECORD, [room("a"), room("b"), taking]).reason == "Making"
    chosen = Choice(disks={"a": ("/dev/nvme0n1",)})
    assert judge_pool(pool(replicas=1), chosen, None, []).reason == "Making"


def test_a_pool_that_cannot_be_made_says_what_is_missing() -> None:
    choice = Choice(disks={"a": ("x",)}, refused={"b": "it has no disk"})
    told = judge_pool(pool(), choice, None, [])
    assert told.message == "3 replicas need 3 nodes, 1 has a disk for this pool: a; node b: it has no disk"
    assert judge_pool(pool(), Choice(rivals={"other"}), None, []).reason == "DisksTaken"


def test_what_is_refused_whole() -> None:
    assert judge_refusal(pool(), "trilith") is None
    for changes, reason in (
        ({"namespace": "default"}, "OtherNamespace"),
        ({"name": "a.b"}, "InvalidName"),
        ({"name": "a" * 64}, "InvalidName"),
    ):
        found = pool(**changes)
        refusal = judge_refusal(found, "trilith")
        assert refusal is not None
        assert refusal.reason == reason


def test_what_keeps_a_pool_that_is_deleted() -> None:
    assert judge_deletion("nvme", ["b", "a"], "").message.startswith("pool nvme holds volumes: a, b;")
    assert judge_deletion("nvme", [], "node c does not answer").reason == "DisksLeft"
    assert judge_deletion("nvme", [], "").met
    assert shorten([str(n) for n in range(12)])[-1] == "and 2 more"


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    first = to_conditions([Condition(READY, False, "A", "a")], {}, 0.0)
    same = to_conditions([Condition(READY, False, "B", "b")], {"conditions": first}, 60.0, generation=2)
    assert (same[0]["lastTransitionTime"], same[0]["reason"]) == ("1970-01-01T00:00:00Z", "B")
    changed = to_conditions([Condition(READY, None, "B", "b")], {"conditions": same}, 60.0)
    assert (changed[0]["lastTransitionTime"], changed[0]["status"]) == ("1970-01-01T00:01:00Z", "Unknown")
    assert find_condition({"conditions": changed}, READY) == changed[0]
    assert find_condition({}, READY) == {}
