"""Everything that can happen next in a world. What the product refuses does not happen.

A call runs to its end at once, unless a delay is spent on it: then everything else can come in between, and
its messages may come twice, late or never. Faults are spent on what breaks; what is mended costs nothing.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from replication.control import rebuild
from replication.errors import TrilithError
from tests.simulation import agent, kernel, operations, outside, reports
from tests.simulation.kernel import CONTROL, Array
from tests.simulation.refusing import mark, refuse, refuse_copy
from tests.simulation.world import NODES, World, current, forgive, node_facts

CONSUMERS = (0, 2)  # the volume is used there only: the others are like each other

Act = Callable[[], World | None]
Move = tuple[str, Act]


def successors(world: World) -> Iterator[tuple[str, World]]:
    """What happens, and the world after it."""
    for kind in KINDS:
        yield from successors_of(kind, world)


def take(world: World, name: str) -> World:
    """The world after the move of this name. LookupError when it cannot happen."""
    for kind in KINDS:
        for found, act in _affordable(kind, world):
            if found == name and (after := _done(world, act)) is not None:
                return after
    there = ", ".join(found for found, _ in successors(world))
    raise LookupError(f"{name!r} cannot happen; there are {there}")


class Kind(NamedTuple):
    """Moves that cost the same. They are of a world in which that is spent already."""

    moves: Callable[[World], Iterator[Move]]
    faults: int = 0
    delays: int = 0


def successors_of(kind: Kind, world: World) -> Iterator[tuple[str, World]]:
    """Those of `successors` that cost this; none where it is more than is left."""
    for name, act in _affordable(kind, world):
        after = _done(world, act)
        if after is not None:
            yield name, after


def _affordable(kind: Kind, world: World) -> Iterator[Move]:
    faults, delays = world.faults - kind.faults, world.delays - kind.delays
    if faults >= 0 and delays >= 0:
        yield from kind.moves(world._replace(faults=faults, delays=delays))


def _done(world: World, act: Act) -> World | None:
    """None when the product refuses it, or nothing comes of it."""
    try:
        after = act()
    except TrilithError:
        return None
    return None if after == world else after


def _ordinary(world: World) -> Iterator[Move]:
    for array in world.plant.arrays:
        yield from _of_kernel(world, array)
        yield from _of_agent(world, array)
    yield from _of_messages(world)
    if world.operation is None:
        yield from _of_control(world)
    else:
        yield f"go on: {world.operation.stage}", partial(operations.step, world)
    yield from _mending(world)


def _delaying(world: World) -> Iterator[Move]:
    """A call that lets others act before it ends, or that comes once more."""
    for array in world.plant.arrays:
        yield from _of_slow_agent(world, array)
    yield from _of_late_calls(world)
    for i in range(len(world.words)):
        yield f"confirmation {i} is obeyed, and nothing is let go yet", partial(reports.obey, world, i)
    if world.operation is None:
        for name, start in _operations():
            yield f"begin to {name}", partial(start, world)


def _of_kernel(world: World, array: Array) -> Iterator[Move]:
    plant, where = world.plant, f"in epoch {array.epoch}"

    into = partial(_into, world)
    if array.told and not array.held:
        yield f"write {where}", into(partial(kernel.write, plant, array))
    if array.held:
        yield f"send again {where}", into(partial(kernel.go_on, plant, array))
    if array is current(world) and array.told:
        for i in kernel.readers(plant, array):
            yield f"read r{i}", into(partial(kernel.read, plant, array, i))
    yield from _of_md(world, array)


def _of_md(world: World, array: Array) -> Iterator[Move]:
    """What md does by itself, and the agent's flusher."""
    plant, where, into = world.plant, f"in epoch {array.epoch}", partial(_into, world)
    if array.source is not None:
        yield f"resync ends {where}", into(partial(kernel.end_resync, plant, array))
    for i, member in enumerate(array.members):
        if member is not None and not member.in_sync:
            yield f"recovery of r{i} ends {where}", into(partial(kernel.end_recovery, plant, array, i))
    if array.bit:
        yield f"bits are cleared {where}", into(partial(kernel.clear_bits, plant, array))
    if plant.ways.volatile:
        yield f"flush {where}", into(partial(kernel.flush, plant, array))


def _into(world: World, act: Callable[[], kernel.Plant | None]) -> Act:
    """An act of the kernel alone, as an act of the world."""

    def acted() -> World | None:
        after = act()
        return None if after is None else world._replace(plant=after)

    return acted


def _of_agent(world: World, array: Array) -> Iterator[Move]:
    where = f"epoch {array.epoch}"
    if any(m is not None and m.released for m in array.members):
        tidied = world._replace(plant=agent.tidy(world.plant, array))
        yield f"tidy {where}", lambda: tidied
    if array.looked:
        gone_on = world._replace(plant=agent.let_go(world.plant, array))
        yield f"what waits is let go in {where}", lambda: gone_on
    yield f"look at {where}", partial(_look, world, array)
    yield f"report of {where}", partial(reports.round_trip, world, array)
    if reports.is_stale(world, array):
        yield f"abandon {where}", partial(_abandon, world, array)


def _of_slow_agent(world: World, array: Array) -> Iterator[Move]:
    where = f"epoch {array.epoch}"
    yield f"a report of {where} leaves", partial(reports.send, world, array)
    for i in kernel.taking(array):
        if array.told and not array.held and i != array.node and array.bit:
            slow = world._replace(plant=kernel.write(world.plant, array, slow=i))
            yield f"write in {where}, r{i} is slow", partial(_same, slow)


def _look(world: World, array: Array) -> World | None:
    """Something is suspected that was not, and nobody has been told; or what waits is let go."""
    plant, _ = agent.look(world.plant, array)
    after = agent.find_array(plant, array.node)
    news = after is not None and (after.members, after.pending) != (array.members, array.pending)
    return world._replace(plant=plant) if news else None


def _same(world: World) -> World:
    return world


def _abandon(world: World, array: Array) -> World | None:
    facts = node_facts(world).get(NODES[array.node])
    if facts is None or not rebuild.choose_superseded(facts, {"v0": world.record}):
        return None
    return reports.supersede(world, array.node, array.epoch)


def _of_messages(world: World) -> Iterator[Move]:
    """What is on its way arrives."""
    for i, disk in enumerate(world.plant.disks):
        if disk.queued is not None and world.plant.site.up[i]:
            landed = world._replace(plant=kernel.catch_up(world.plant, i))
            yield f"r{i} does what it had accepted", partial(_same, landed)
        if disk.unmarked:
            marked = world._replace(plant=mark(world.plant, i))
            yield f"{NODES[i]} marks what its disk refused", partial(_same, marked)
    yield "the report arrives", partial(reports.take, world)
    yield "the swap", partial(reports.record, world)
    for i in range(len(world.words)):
        yield f"confirmation {i} arrives", partial(reports.hear, world, i)


def _of_late_calls(world: World) -> Iterator[Move]:
    for i, request in enumerate(world.asks):
        if request is not None and world.plant.site.up[i]:
            act = partial(operations.deliver_ask, world, i, request)
            yield f"r{i} is asked again", lambda act=act: act()[0]  # type: ignore[misc]
    if world.rejoin is not None and world.plant.site.up[world.rejoin.node]:
        yield "the rejoin again", partial(operations.deliver_rejoin, world, world.rejoin)


def _of_control(world: World) -> Iterator[Move]:
    """A new operation, done at once."""
    for name, start in _operations():
        yield name, partial(_at_once, world, start)
    yield "tell of the fence", partial(operations.tell_fence, world)


def _operations() -> Iterator[tuple[str, operations.Start]]:
    for node in CONSUMERS:
        yield f"attach to {NODES[node]}", partial(operations.begin_attach, node=node)
    yield "detach", operations.begin_detach
    yield "rebuild", partial(operations.begin_rebuild, turn=0)
    yield "rebuild another", partial(operations.begin_rebuild, turn=1)
    yield "settle", operations.settle


def _at_once(world: World, start: operations.Start) -> World | None:
    begun = start(world)
    return None if begun is None else operations.finish(begun)


def _mending(world: World) -> Iterator[Move]:
    plant = world.plant
    for pair in plant.site.cuts:
        mended = world._replace(plant=outside.cut(plant, pair))
        yield f"mend {_name(pair)}", partial(_same, mended)
    for i, up in enumerate(plant.site.up):
        if not up:
            yield f"{NODES[i]} boots", partial(_same, world._replace(plant=outside.power_on(plant, i)))


def _breaking(world: World) -> Iterator[Move]:
    """Of nodes that are alike, the first breaks."""
    operation = world.operation
    if operation is not None:
        yield "control dies", lambda: world._replace(operation=None)
        asking = {"prepare": operations.prepare, "fence": operations.fence}.get(operation.stage)
        if asking is not None and operation.todo:
            yield "the answer is lost", partial(asking, world, operation, lost=True)
    plant = world.plant
    for i in unlike(world):
        if plant.site.up[i]:
            dead = world._replace(plant=outside.power_off(plant, i))
            yield f"{NODES[i]} loses power", partial(forgive, dead)
            yield f"{NODES[i]}'s disk dies", partial(_kill, world, i)
        array = agent.find_array(plant, i)
        if array is not None:
            yield f"{NODES[i]}'s agent starts again", partial(_restart, world, array)
        yield from _refusing(world, i)
        for other in (CONTROL, *sorted({a.node for a in plant.arrays} - {i})):
            pair = (min(i, other), max(i, other))
            if pair not in plant.site.cuts:
                yield f"cut {_name(pair)}", partial(_same, world._replace(plant=outside.cut(plant, pair)))


def _refusing(world: World, node: int) -> Iterator[Move]:
    """Its disk refuses a write, which waits, or is acknowledged all the same; or what is copied to it."""
    plant, into = world.plant, partial(_into, world)
    for array in plant.arrays:
        where = f"in epoch {array.epoch}"
        if array.told:
            what = f"{NODES[node]}'s disk refuses a write {where}"
            yield what, into(partial(refuse, plant, array, node))
            yield f"{what}, nobody waits", into(partial(refuse, plant, array, node, late=True))
        what = f"{NODES[node]}'s disk refuses a copy {where}"
        yield what, into(partial(refuse_copy, plant, array, node))
        yield f"{what}, elsewhere", into(partial(refuse_copy, plant, array, node, elsewhere=True))


KINDS = (Kind(_ordinary), Kind(_delaying, delays=1), Kind(_breaking, faults=1))


def _restart(world: World, array: Array) -> World:
    plant = world.plant
    heard = tuple(word for word in world.words if word[0] != array.node or not plant.ways.prompt)
    return world._replace(plant=agent.restart(plant, array), words=heard)


def _kill(world: World, replica: int) -> World | None:
    if replica in world.plant.site.dead:
        return None
    return world._replace(plant=outside.kill_disk(world.plant, replica))


def _name(pair: tuple[int, int]) -> str:
    return " from ".join(NODES[i] if i >= 0 else "control" for i in reversed(pair))


def unlike(world: World) -> Iterator[int]:
    """One of each kind of node: its disk, its place in the record and in arrays, its cables."""
    seen = set()
    for i in range(len(world.plant.disks)):
        kind = _kind(world, i)
        if kind not in seen:
            seen.add(kind)
            yield i


def _kind(world: World, node: int) -> tuple[object, ...]:
    plant, replica = world.plant, world.record.replicas[node]
    disk, site = plant.disks[node], plant.site
    exports = tuple(link[:3] for link in disk.exports)
    queued = disk.queued and (disk.queued[0][:3], disk.queued[1])
    cuts = frozenset(sum(pair) - node for pair in site.cuts if node in pair)
    members = tuple(_kind_of_member(array, node) for array in plant.arrays)
    return (
        node if node in CONSUMERS else CONTROL,
        disk._replace(exports=(), queued=None),
        exports,
        queued,
        (replica.state, replica.copy, replica.boot_id),
        (site.up[node], site.boots[node], node in site.dead, cuts, world.asks[node]),
        members,
        _kind_in_operation(world, node),
    )


def _kind_of_member(array: Array, node: int) -> tuple[object, ...]:
    member = array.members[node]
    plain = None if member is None else (member._replace(link=None), member.link and member.link[:3])
    return plain, node in array.pending, array.source == node


def _kind_in_operation(world: World, node: int) -> object:
    """A message or a call that is on its way may speak of anybody: then nobody is like another."""
    if world.operation or world.mail or world.swaps or world.words or world.rejoin:
        return node
    return world.record.resync_source == agent.replica_id(node)
