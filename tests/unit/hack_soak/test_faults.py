import random
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from hack.soak.faults import (
    LARGEST_BYTES,
    LASTING,
    Fault,
    Kind,
    Placed,
    World,
    choose_fault,
    healed,
    list_possible,
    strike,
)
from replication.model import MIB

NODES = ("m1", "m2", "m3")
DEPTH = 3


def new_world(*consumers: str, nodes: tuple[str, ...] = NODES) -> World:
    everywhere = frozenset(NODES)
    volumes = (
        Placed(f"v{number}", consumer, 32 * MIB, everywhere, everywhere)
        for number, consumer in enumerate(consumers)
    )
    return World(nodes, tuple(volumes))


def walk(world: World, depth: int) -> Iterator[tuple[World, Fault, World]]:
    """Every fault that may come in every world that there can be."""
    for fault in list_possible(world) if depth else ():
        after = strike(world, fault)
        yield world, fault, after
        yield from walk(after, depth - 1)


@cache
def walk_two() -> tuple[tuple[World, Fault, World], ...]:
    return tuple(walk(new_world("m1", "m2"), DEPTH))


def draw(seed: int, count: int) -> list[Fault]:
    numbers, world, drawn = random.Random(seed), new_world(*NODES), []  # noqa: S311 - repeatable
    for _ in range(count):
        fault = choose_fault(numbers, world)
        if fault is None:
            world = healed(world)
            continue
        drawn.append(fault)
        world = strike(world, fault)
    return drawn


def test_every_volume_keeps_a_replica_that_nothing_has_happened_to() -> None:
    for before, fault, after in walk_two():
        for old, new in zip(before.volumes, after.volumes, strict=True):
            assert new.left, (before, fault)
            assert new.left <= old.left, "only healing brings any back"
            if not after.dark:
                assert all(node in new.left for node in old.left - touched(fault, old)), (before, fault)


def touched(fault: Fault, volume: Placed) -> set[str]:
    """A consumer that is touched may have lost all the others."""
    nodes = {fault.node, fault.other} - {""}
    return nodes if volume.consumer not in nodes else set(NODES)


def test_the_only_spared_replica_is_never_struck() -> None:
    """Unless it is the consumer's own, which is as well off as the consumer."""
    for before, fault, _ in walk_two():
        if fault.kind in LASTING - {Kind.PARTED} | {Kind.FLAP, Kind.FROZEN}:
            for volume in before.volumes:
                assert volume.left != {fault.node} or fault.node == volume.consumer, (before, fault)


def test_a_consumer_whose_replica_is_the_only_one_keeps_its_power_and_its_disk() -> None:
    for before, fault, _ in walk(new_world("m1"), DEPTH):
        if fault.kind in {Kind.POWER_CUT, Kind.TAKEN_OVER, Kind.DISK_ERRORS}:
            assert before.volumes[0].left != {fault.node}


def test_what_people_do_goes_to_machines_that_nothing_is_wrong_with() -> None:
    for before, fault, _ in walk_two():
        if fault.kind in {Kind.MOVED, Kind.EXPANDED}:
            assert before.is_well(fault.node)
        if fault.kind in {Kind.MOVED, Kind.TAKEN_OVER, Kind.PARTED}:
            assert before.is_well(fault.other)


def test_a_machine_has_one_lasting_fault_at_a_time() -> None:
    for before, fault, _ in walk(new_world("m1"), DEPTH):
        if fault.kind in LASTING:
            assert fault.node not in {other.node for other in before.ailing}


def test_all_machines_lose_power_only_when_all_is_in_order_and_nothing_comes_after() -> None:
    for before, fault, after in walk(new_world("m1"), DEPTH):
        if fault.kind is Kind.BLACKOUT:
            assert all(volume.left == volume.replicas for volume in before.volumes)
            assert list_possible(after) == []


def test_a_healed_machine_is_well_and_its_replicas_are_not_counted_on() -> None:
    struck = strike(new_world("m1"), Fault(Kind.CUT, "m2"))
    again = strike(struck, Fault(Kind.HEALED, "m2"))
    assert (struck.is_well("m2"), again.is_well("m2")) == (False, True)
    assert again.volumes[0].left == {"m1", "m3"}
    assert healed(again).volumes[0].left == set(NODES)


def test_a_volume_goes_where_it_is_taken() -> None:
    taken = strike(new_world("m1", "m2"), Fault(Kind.TAKEN_OVER, "m1", "m3"))
    assert [volume.consumer for volume in taken.volumes] == ["m3", "m2"]
    assert (taken.is_well("m1"), taken.is_well("m3")) == (False, True)
    moved = strike(taken, Fault(Kind.MOVED, "m2", "m3", "v1"))
    assert [volume.consumer for volume in moved.volumes] == ["m3", "m3"]


def test_a_volume_grows_to_a_bound() -> None:
    world, sizes = new_world("m1"), [32 * MIB]
    while grown := [fault for fault in list_possible(world) if fault.kind is Kind.EXPANDED]:
        world = strike(world, grown[0])
        sizes.append(world.volumes[0].size_bytes)
    assert all(before < after for before, after in pairwise(sizes))
    assert sizes[-1] == LARGEST_BYTES


def test_a_consumer_without_a_replica_keeps_its_link() -> None:
    world = new_world("m4", nodes=(*NODES, "m4"))
    kinds = {fault.kind for fault in list_possible(world) if fault.node == "m4"}
    assert kinds.isdisjoint({Kind.CUT, Kind.FLAP, Kind.DEGRADED, Kind.FROZEN})
    assert Kind.TAKEN_OVER in kinds


def test_a_seed_draws_the_same_faults_and_another_others() -> None:
    assert draw(7, 50) == draw(7, 50)
    assert draw(7, 50) != draw(8, 50)


def test_every_kind_is_drawn_and_says_what_it_does() -> None:
    drawn = [fault for seed in range(20) for fault in draw(seed, 50)]
    assert {fault.kind for fault in drawn} == set(Kind)
    for fault in drawn:
        named = {fault.node, fault.other, fault.volume} - {""}
        assert all(name in str(fault) for name in named)
