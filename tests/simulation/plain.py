"""The same world under plainer names: worlds that differ in names only are one.

What has no meaning of its own is given the smallest numbers that keep its order: epochs, versions of the
record, sequences of reports.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from replication.model import ArrayReport, Confirmation, Volume
from tests.simulation import agent
from tests.simulation.kernel import Array, Disk, Link, Member
from tests.simulation.world import Ask, World


def plain(world: World) -> World:
    """Equal for worlds that behave alike."""
    world = _without_the_dead(world)
    links = tuple(_links(world))
    epochs = _ranks(_epochs(world, links))
    versions = _ranks(_versions(world, links))
    if _is_plain(epochs) and _is_plain(versions) and not _has_sequences(world):
        return world
    return _renamed(world, epochs.__getitem__, versions.__getitem__)


def _without_the_dead(world: World) -> World:
    """Messages that nobody would heed are no part of the world."""
    arrays = {(a.node, a.epoch) for a in world.plant.arrays}
    asks = tuple(
        None if ask is not None and ask.epoch < disk.epoch else ask
        for ask, disk in zip(world.asks, world.plant.disks, strict=True)
    )
    words = tuple(pair for pair in world.words if (pair[0], pair[1].epoch) in arrays)
    rejoin = world.rejoin
    if rejoin is not None and (rejoin.node, rejoin.epoch) not in arrays:
        rejoin = None
    if (asks, words, rejoin) == (world.asks, world.words, world.rejoin):
        return world
    return world._replace(asks=asks, words=words, rejoin=rejoin)


def _ranks(numbers: set[int]) -> dict[int, int]:
    return {number: rank for rank, number in enumerate(sorted(numbers | {0}))}


def _is_plain(ranks: dict[int, int]) -> bool:
    return all(number == rank for number, rank in ranks.items())


def _has_sequences(world: World) -> bool:
    return any(array.sequence > 1 for array in world.plant.arrays)


def _epochs(world: World, links: Iterable[Link]) -> set[int]:
    found = {world.record.epoch, *(a.epoch for a in world.plant.arrays)}
    found |= {link.epoch for link in links} | {disk.epoch for disk in world.plant.disks}
    found |= {ask.epoch for ask in world.asks if ask} | {word.epoch for _, word in world.words}
    found |= {each.epoch for each in (world.operation, world.rejoin) if each}
    found |= {world.mail[1].epoch} if world.mail else set()
    return found | ({world.swaps[0].epoch, world.swaps[3].epoch} if world.swaps else set())


def _versions(world: World, links: Iterable[Link]) -> set[int]:
    found = {world.version, *(a.version for a in world.plant.arrays)}
    found |= {link.version for link in links} | {ask.version for ask in world.asks if ask}
    found |= {word.record_version for _, word in world.words}
    found |= {attempt for _, word in world.words for attempt in word.attempts}
    found |= {m.attempt for a in world.plant.arrays for m in a.members if m is not None}
    found |= {world.operation.version} if world.operation else set()
    found |= {r.as_of for r in world.record.replicas}
    found |= {world.rejoin.how.version} if world.rejoin else set()
    found |= {world.mail[1].record_version} if world.mail else set()
    reports = [each for each in (world.mail and world.mail[1], world.swaps and world.swaps[3]) if each]
    found |= {member.attempt for report in reports for member in report.members}
    if world.swaps:
        found |= {world.swaps[1], world.swaps[3].record_version, *(r.as_of for r in world.swaps[0].replicas)}
    return found


def _links(world: World) -> Iterable[Link]:
    for disk in world.plant.disks:
        yield from disk.exports
        if disk.queued is not None:
            yield disk.queued[0]
    for array in world.plant.arrays:
        yield from (m.link for m in array.members if m is not None and m.link is not None)
    if world.rejoin is not None and world.rejoin.how.link is not None:
        yield world.rejoin.how.link
    if world.operation is not None:
        yield from (a.link for a in world.operation.answers if a.link is not None)


Rename = Callable[[int], int]


class _Renaming:
    """One mapping of epochs, versions and sequences, over all values. What does not change is not copied."""

    def __init__(self, world: World, epoch: Rename, version: Rename) -> None:
        self.epoch, self.version = epoch, version
        self.quiet = not (world.words or world.mail or world.swaps)

    def link(self, link: Link | None, replica: int) -> Link | None:
        if link is None:
            return None
        return agent.make_link(replica, self.epoch(link.epoch), self.version(link.version), link.boot)

    def record(self, record: Volume) -> Volume:
        if any(r.as_of != self.version(r.as_of) for r in record.replicas):
            renamed = tuple(replace(r, as_of=self.version(r.as_of)) for r in record.replicas)
            record = replace(record, replicas=renamed)
        same = self.epoch(record.epoch) == record.epoch
        return record if same else replace(record, epoch=self.epoch(record.epoch))

    def ask(self, ask: Ask | None) -> Ask | None:
        return ask and ask._replace(epoch=self.epoch(ask.epoch), version=self.version(ask.version))

    def report(self, report: ArrayReport) -> ArrayReport:
        version = self.version(report.record_version)
        members = tuple(replace(m, attempt=self.version(m.attempt)) for m in report.members)
        return replace(report, epoch=self.epoch(report.epoch), record_version=version, members=members)

    def word(self, word: Confirmation) -> Confirmation:
        return replace(
            word,
            epoch=self.epoch(word.epoch),
            record_version=self.version(word.record_version),
            attempts=tuple(map(self.version, word.attempts)),
        )

    def disk(self, disk: Disk, replica: int) -> Disk:
        exports = tuple(e for each in disk.exports if (e := self.link(each, replica)) is not None)
        queued = disk.queued
        if queued is not None and (link := self.link(queued[0], replica)) is not None:
            queued = (link, queued[1])
        epoch = self.epoch(disk.epoch)
        if (epoch, exports, queued) == (disk.epoch, disk.exports, disk.queued):
            return disk
        return disk._replace(epoch=epoch, exports=exports, queued=queued)

    def member(self, member: Member | None, replica: int) -> Member | None:
        if member is None:
            return None
        suspected = min(1, member.suspected_in) if self.quiet else member.suspected_in
        link, attempt = self.link(member.link, replica), self.version(member.attempt)
        if (link, suspected, attempt) == (member.link, member.suspected_in, member.attempt):
            return member
        return member._replace(link=link, suspected_in=suspected, attempt=attempt)

    def array(self, array: Array) -> Array:
        members = tuple(self.member(m, i) for i, m in enumerate(array.members))
        quiet = 2 if any(_is_suspected(m) for m in members) else 1
        return array._replace(
            epoch=self.epoch(array.epoch),
            version=self.version(array.version),
            members=members,
            sequence=quiet if self.quiet else array.sequence,
        )


def _is_suspected(member: Member | None) -> bool:
    return member is not None and member.suspected_in > 0


def _renamed(world: World, epoch: Rename, version: Rename) -> World:
    to = _Renaming(world, epoch, version)
    plant = world.plant._replace(
        disks=tuple(to.disk(disk, i) for i, disk in enumerate(world.plant.disks)),
        arrays=tuple(to.array(array) for array in world.plant.arrays),
    )
    record, asks = to.record(world.record), tuple(map(to.ask, world.asks))
    renamed = world._replace(plant=plant, record=record, version=version(world.version), asks=asks)
    return _renamed_messages(renamed, to)


def _renamed_messages(world: World, to: _Renaming) -> World:
    operation, rejoin, mail, swaps = world.operation, world.rejoin, world.mail, world.swaps
    if to.quiet and operation is None and rejoin is None:
        return world
    if operation is not None:
        answers = tuple(a._replace(link=to.link(a.link, a.replica)) for a in operation.answers)
        operation = operation._replace(
            epoch=to.epoch(operation.epoch), version=to.version(operation.version), answers=answers
        )
    if rejoin is not None:
        how = rejoin.how._replace(
            link=to.link(rejoin.how.link, rejoin.replica), version=to.version(rejoin.how.version)
        )
        rejoin = rejoin._replace(epoch=to.epoch(rejoin.epoch), how=how)
    if mail is not None:
        mail = (mail[0], to.report(mail[1]))
    if swaps is not None:
        swaps = (to.record(swaps[0]), to.version(swaps[1]), swaps[2], to.report(swaps[3]))
    words = tuple((node, to.word(word)) for node, word in world.words)
    return world._replace(operation=operation, rejoin=rejoin, mail=mail, swaps=swaps, words=words)
