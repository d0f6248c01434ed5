"""From a consumer's report to the record and back as a confirmation: in one go, or message by message."""

from replication.control import insync, reporting
from replication.errors import Conflict, NotFound, StaleEpoch, TrilithError
from replication.model import ArrayReport, Confirmation, Versioned, Volume
from tests.simulation import agent, kernel
from tests.simulation.kernel import Array
from tests.simulation.world import NODES, World, swap, try_swap

MOST_ROUNDS = 8
WORDS = 2


def round_trip(world: World, array: Array) -> World | None:
    """The agent looks and reports, control records and confirms, until there is nothing more to record."""
    if not kernel.hears(world.plant.site, array.node):
        return None
    plant, report = agent.look(world.plant, array)
    world = world._replace(plant=plant)
    news: ArrayReport | None = report
    for _ in range(MOST_ROUNDS):
        if news is None:
            return world
        world, news = _handle(world, array.node, news)
    return world


def _handle(world: World, node: int, report: ArrayReport) -> tuple[World, ArrayReport | None]:
    try:
        world = swap(world, react(world.record, node, report))
    except (NotFound, StaleEpoch):
        return supersede(world, node, report.epoch), None
    if not reporting.awaits_word(world.record, report):
        return world, None
    word = make_word(world, report)
    plant, answer = agent.confirm(world.plant, node, word)
    world = world._replace(plant=plant)
    more = answer is not None and react(world.record, node, answer) != world.record
    return world, answer if more else None


@agent.asked_once
def react(record: Volume, node: int, report: ArrayReport) -> Volume:
    return reporting.follow(NODES[node], report)(record)


def make_word(world: World, report: ArrayReport) -> Confirmation:
    return reporting._word_of(Versioned(world.record, world.version), report)


def supersede(world: World, node: int, epoch: int) -> World:
    """The record has given this array up, if it is not older than the array."""
    if epoch > world.record.epoch or not kernel.hears(world.plant.site, node):
        return world
    return world._replace(plant=agent.abandon(world.plant, node, epoch))


# Message by message


def send(world: World, array: Array) -> World:
    """A report leaves. The one before it is not seen any more."""
    plant, report = agent.look(world.plant, array)
    return world._replace(plant=plant, mail=(array.node, report))


def take(world: World) -> World | None:
    """A control process reads the record for the report, and is about to swap."""
    if world.mail is None:
        return None
    node, report = world.mail
    try:
        after = react(world.record, node, report)
    except (NotFound, StaleEpoch):
        return supersede(world, node, report.epoch)
    if after == world.record:
        return _answer(world, node, report)
    return world._replace(swaps=(after, world.version, node, report))


def record(world: World) -> World | None:
    """The swap. When somebody was first, the report is handled anew, from the mail."""
    if world.swaps is None:
        return None
    after, version, node, report = world.swaps
    world = world._replace(swaps=None)
    try:
        try_swap(world.record, world.version, after, version)
    except Conflict:
        return world
    return _answer(swap(world, after), node, report)


def _answer(world: World, node: int, report: ArrayReport) -> World:
    if not reporting.awaits_word(world.record, report):
        return world
    words = (*world.words, (node, make_word(world, report)))
    return world._replace(words=words[-WORDS:])


def hear(world: World, number: int) -> World | None:
    """A confirmation reaches the agent: the first time, once more, or late."""
    node, word = world.words[number]
    try:
        plant, _ = agent.confirm(world.plant, node, word)
    except TrilithError:
        return None
    return world._replace(plant=plant)


def obey(world: World, number: int) -> World | None:
    """It reaches the agent, which has dropped and looked, and has not let go yet what waits."""
    node, word = world.words[number]
    plant, _ = agent.obey(world.plant, node, word)
    return world._replace(plant=plant)


def is_stale(world: World, array: Array) -> bool:
    try:
        insync.resync_done(world.record, array.epoch)
    except StaleEpoch:
        return True
    return world.record.consumer != NODES[array.node]
