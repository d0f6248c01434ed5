"""Operations on a volume, call by call, as control makes them; everything decided is decided by the product.

An operation is a chain of stages. Run to its end at once it is what happens mostly; taken stage by stage,
with everything else in between, it is what happens when calls are slow, late, or the process dies.
"""

from collections.abc import Callable
from functools import partial

from replication.control import insync, lifecycle, rebuild, starting
from replication.errors import Conflict, FailedPrecondition, TrilithError, Unavailable
from replication.model import ArrayReport, Attachment, CopyMode, MemberHealth, Prepared, Volume
from tests.simulation import agent, kernel, reports
from tests.simulation.agent import Return, number_of, replica_id
from tests.simulation.kernel import Link
from tests.simulation.world import (
    NODES,
    Answer,
    Ask,
    Operation,
    Rejoin,
    World,
    current,
    in_sync,
    node_facts,
    node_number,
    prepared,
    swap,
)

Start = Callable[[World], World | None]


def step(world: World) -> World:
    """The next stage of what is under way."""
    operation = world.operation
    return world if operation is None else STAGES[operation.stage](world, operation)


def finish(world: World) -> World:
    """All stages that are left."""
    while world.operation is not None:
        world = step(world)
    return world


def _at(world: World, stage: str, **changes: object) -> World:
    operation = world.operation
    if operation is None:
        return world
    return world._replace(operation=operation._replace(stage=stage, **changes))  # type: ignore[arg-type]


def _over(world: World) -> World:
    return world._replace(operation=None)


# Attaching


def begin_attach(world: World, node: int) -> World | None:
    """None when it is attached there and has its array. Raises what the product raises."""
    record = world.record
    if record.attachment is Attachment.ATTACHED and record.consumer == NODES[node]:
        there = agent.find_array(world.plant, node)
        if not kernel.hears(world.plant.site, node) or (there and there.epoch == record.epoch):
            return None
    begun = swap(world, _attaching(record, NODES[node]))
    todo = tuple(in_sync(begun.record))
    return begun._replace(
        operation=Operation("prepare", node, begun.record.epoch, begun.version, todo, copy=CopyMode.FULL)
    )


@agent.asked_once
def _attaching(record: Volume, node: str) -> Volume:
    return insync.begin_attach(record, node)


def ask(world: World, replica: int, request: Ask) -> tuple[World, Answer]:
    """Make a replica ready, and hear of it, if its node answers."""
    asks = (*world.asks[:replica], request._replace(renewed=False), *world.asks[replica + 1 :])
    world = world._replace(asks=asks)
    if not kernel.hears(world.plant.site, replica) or replica in world.plant.site.dead:
        return world, Answer(replica, None, None)
    try:
        return deliver_ask(world, replica, request)
    except TrilithError:
        return world, Answer(replica, None, None)


def deliver_ask(world: World, replica: int, request: Ask) -> tuple[World, Answer]:
    """It reaches the node: the first time, once more, or late."""
    plant, link = agent.prepare(
        world.plant,
        replica,
        request.epoch,
        request.version,
        export=request.export,
        renewed=request.renewed,
    )
    boot, suspect = plant.site.boots[replica], plant.disks[replica].suspect
    answer = Answer(replica, boot, link if request.export else None, suspect)
    return world._replace(plant=plant), answer


def prepare(world: World, operation: Operation, *, lost: bool = False) -> World:
    """The next replica in sync. `lost`: it is made ready, and nobody hears of it."""
    if not operation.todo:
        return _at(world, "admit")
    request = Ask(operation.epoch, operation.version, operation.todo[0] != operation.node)
    return _ask_next(world, operation, request, "admit", lost=lost)


def _ask_next(world: World, operation: Operation, request: Ask, then: str, *, lost: bool) -> World:
    """`then`: the stage when all have been asked."""
    replica, left = operation.todo[0], operation.todo[1:]
    world, answer = ask(world, replica, request)
    answers = (*operation.answers, Answer(replica, None, None) if lost else answer)
    return _at(world, operation.stage if left else then, todo=left, answers=answers)


def admit(world: World, operation: Operation) -> World:
    """Record who starts, then assemble."""
    answers = _heard(world, operation)
    try:
        start = starting.choose_start(world.record, answers)
        admitted = insync.admit(world.record, operation.epoch, start.ready, start.left_out)
        world = swap(world, admitted)
        return _at(_assemble(world, operation, answers), "attached")
    except TrilithError:
        return _at(world, "undo")


def _heard(world: World, operation: Operation) -> dict[str, Prepared | TrilithError]:
    return {
        replica_id(a.replica): Unavailable("silent") if a.boot is None else prepared(world, a)
        for a in operation.answers
    }


def _assemble(world: World, operation: Operation, answers: dict[str, Prepared | TrilithError]) -> World:
    record = world.record
    able = {key: answer for key, answer in answers.items() if isinstance(answer, Prepared)}
    links: dict[int, Link | None] = {a.replica: a.link for a in operation.answers}
    order = [number_of(member.replica_id) for member in starting.order_members(record, able)]
    if not kernel.hears(world.plant.site, operation.node):
        raise Unavailable("the consumer does not answer")
    boots = {a.replica: a.boot for a in operation.answers if a.replica in order}
    agent.require_ready(world.plant, operation.node, boots.get(operation.node))
    plant = agent.attach(
        world.plant,
        operation.node,
        record.epoch,
        world.version,
        {i: links[i] for i in order},
        resync=record.resync_source is not None,
    )
    return world._replace(plant=plant)


def attached(world: World, operation: Operation) -> World:
    """From now on somebody knows of the array."""
    try:
        world = swap(world, insync.finish_attach(world.record, operation.epoch))
    except TrilithError:
        return _at(world, "undo")
    array = agent.find_array(world.plant, operation.node)
    if array is not None and array.epoch == operation.epoch:
        told = kernel.with_array(world.plant, array, array._replace(told=True))
        world = world._replace(plant=told)
    return _over(world)


def undo(world: World, operation: Operation) -> World:
    """Record first: it may say that the volume is attached."""
    try:
        return _at(swap(world, insync.undo_attach(world.record, operation.epoch)), "unwind")
    except TrilithError:
        return _over(world)


def unwind(world: World, operation: Operation) -> World:
    plant = world.plant
    if kernel.hears(plant.site, operation.node):
        plant = agent.abandon(plant, operation.node, operation.epoch)
    return _over(release_all(world._replace(plant=plant), operation.epoch))


def release_all(world: World, epoch: int) -> World:
    plant = world.plant
    for replica in range(len(plant.disks)):
        if kernel.hears(plant.site, replica):
            plant = agent.release_export(plant, replica, epoch)
    return world._replace(plant=plant)


def _try(world: World, after: Callable[[], Volume]) -> World:
    """A step that does not fit any more is not taken."""
    try:
        return swap(world, after())
    except TrilithError:
        return world


# Detaching, with consent or by the fence


def begin_detach(world: World) -> World | None:
    if world.record.attachment not in {Attachment.ATTACHED, Attachment.DETACHING}:
        return None
    begun = swap(world, insync.begin_detach(world.record))
    node = node_number(begun.record.consumer)
    return begun._replace(operation=Operation("stop", node, begun.record.epoch, begun.version))


def stop(world: World, operation: Operation) -> World:
    plant = world.plant
    if not kernel.hears(plant.site, operation.node):
        return _at(world, "force")
    there, boot = agent.find_array(plant, operation.node), None
    if there is not None and there.epoch == operation.epoch:
        boot = plant.site.boots[operation.node]
        _, report = agent.look(plant, there)
        world = swap(world, reports.react(world.record, operation.node, report))
    return _at(world, "end", answers=(Answer(operation.node, boot, None),))


def end(world: World, operation: Operation) -> World:
    """Who has no array agrees to its end as well. It ended in peace if it was seen in the boot of now."""
    if not kernel.hears(world.plant.site, operation.node):
        return _at(world, "force", answers=())
    try:
        plant = agent.detach(world.plant, operation.node, operation.epoch)
    except FailedPrecondition:
        return _over(_try(world, lambda: insync.undo_detach(world.record, operation.epoch)))
    except Unavailable:
        return _over(world)
    in_peace = operation.answers[0].boot == plant.site.boots[operation.node]
    return _at(world._replace(plant=plant), "detached" if in_peace else "crashed", answers=())


def detached(world: World, operation: Operation, *, clean: bool) -> World:
    world = release_all(world, operation.epoch)
    return _over(_try(world, lambda: insync.finish_detach(world.record, operation.epoch, clean=clean)))


def force(world: World, operation: Operation) -> World:
    if not insync.can_fence(world.record):
        return _over(world)
    try:
        world = swap(world, insync.fence(world.record))
    except Conflict:
        return _over(world)
    others = tuple(i for i in in_sync(world.record) if i != operation.node)
    return _at(world, "fence", todo=others, epoch=world.record.epoch, version=world.version)


def fence(world: World, operation: Operation, *, lost: bool = False) -> World:
    """The next replica that is not the consumer's own."""
    request = Ask(operation.epoch, operation.version, export=False)
    return _ask_next(world, operation, request, "leave behind", lost=lost)


def leave_behind(world: World, operation: Operation) -> World:
    """The consumer's own replica, if others answered who lack nothing."""
    sure = starting.list_sure(world.record, _heard(world, operation))
    own = NODES[operation.node]
    return _over(swap(world, insync.leave_behind(world.record, operation.epoch, own, sure)))


def tell_fence(world: World) -> World | None:
    """The reconciler, later: replicas that have not heard of the fence."""
    if world.operation or not rebuild.choose_unfenced({"v0": world.record}, node_facts(world)):
        return None
    request = Ask(world.record.epoch, world.version, export=False)
    for replica in in_sync(world.record):
        world, _ = ask(world, replica, request)
    return world


def settle(world: World) -> World | None:
    """Whoever gets the lock of an operation that has lost its process."""
    record = world.record
    begin = {lifecycle.Step.UNDO_ATTACH: "undo", lifecycle.Step.FINISH_DETACH: "stop"}
    stage = begin.get(lifecycle.choose_step(record))
    if stage is None:
        return None
    operation = Operation(stage, node_number(record.consumer), record.epoch, world.version)
    return world._replace(operation=operation)


# Bringing a replica back


def begin_rebuild(world: World, turn: int) -> World | None:
    """End attempts that came to nothing, then begin one: the quickest, or another while that has to wait."""
    record, array = world.record, current(world)
    if record.attachment is not Attachment.ATTACHED:
        return None
    if not kernel.hears(world.plant.site, node_number(record.consumer)):
        return None
    report = None if array is None else agent.look(world.plant, array)[1]
    for name in rebuild.choose_stuck(record, report):
        world = _try(world, partial(insync.stop_rebuild, world.record, record.epoch, name))
    if report is None:
        return world
    plans = rebuild.list_rebuilds(world.record, node_facts(world))
    if turn >= len(plans):
        return None if turn else world
    return _rebuild(world, plans[turn], report)


def _rebuild(world: World, plan: rebuild.Rebuild, report: ArrayReport) -> World:
    """Record it; then it is made ready and joins, unless it is in the array already."""
    record = world.record
    healths = {member.replica_id: member.health for member in report.members}
    health = healths.get(plan.replica.id, MemberHealth.DROPPED)
    if health in {MemberHealth.LOST, MemberHealth.GOOD}:
        return world
    begun = insync.start_rebuild(record, plan.replica.id, plan.copy, plan.boot_id, volatile=plan.volatile)
    world = swap(world, begun)
    if health is not MemberHealth.DROPPED:
        return world
    node, replica = node_number(record.consumer), number_of(plan.replica.id)
    operation = Operation("ready", node, record.epoch, world.version, (replica,), copy=plan.copy)
    return world._replace(operation=operation)


def ready(world: World, operation: Operation) -> World:
    replica, renewed = operation.todo[0], operation.copy is CopyMode.FULL
    request = Ask(operation.epoch, operation.version, replica != operation.node, renewed)
    world, answer = ask(world, replica, request)
    if answer.boot is None:
        return _over(world)
    expected = insync.get_replica(world.record, replica_id(replica)).boot_id
    if rebuild.find_surprise(expected, operation.copy, prepared(world, answer)):
        return _over(_stop(world, operation))
    return _at(world, "rejoin", answers=(answer,))


def rejoin(world: World, operation: Operation) -> World:
    answer = operation.answers[0]
    full = operation.copy is CopyMode.FULL
    resumable = full and insync.can_resume(world.record)
    how = Return(answer.link, full=full, every_bit=resumable, version=operation.version)
    request = Rejoin(operation.node, operation.epoch, answer.replica, how)
    world = world._replace(rejoin=request)
    if not kernel.hears(world.plant.site, operation.node):
        return _over(world)
    try:
        world = deliver_rejoin(world, request)
    except Unavailable:
        return _over(world)
    except TrilithError:
        return _over(_stop(world, operation))
    return _at(world, "resumable") if resumable else _over(world)


def resumable(world: World, operation: Operation) -> World:
    """The bitmap covers from now on what a full copy has not reached."""
    name = replica_id(operation.todo[0])
    return _over(_try(world, lambda: insync.make_resumable(world.record, operation.epoch, name)))


def deliver_rejoin(world: World, request: Rejoin) -> World:
    """It reaches the consumer: the first time, once more, or late."""
    plant = agent.rejoin(world.plant, request.node, request.epoch, request.replica, request.how)
    return world._replace(plant=plant)


def _stop(world: World, operation: Operation) -> World:
    name = replica_id(operation.todo[0])
    return _try(world, lambda: insync.stop_rebuild(world.record, operation.epoch, name))


STAGES: dict[str, Callable[[World, Operation], World]] = {
    "prepare": prepare,
    "admit": admit,
    "attached": attached,
    "undo": undo,
    "unwind": unwind,
    "stop": stop,
    "end": end,
    "detached": partial(detached, clean=True),
    "crashed": partial(detached, clean=False),
    "force": force,
    "fence": fence,
    "leave behind": leave_behind,
    "ready": ready,
    "rejoin": rejoin,
    "resumable": resumable,
}
