from replication.agent.remembered import Remembered
from replication.agent.storage import Place
from replication.agent.turns import AT_ONCE, TURNS
from replication.model import ReplicaFacts

COUNT = AT_ONCE * TURNS
PLACES = tuple(Place(f"v{n}", "r0", f"group{n % 2}", f"/dev/v{n}") for n in range(COUNT))


class Disks:
    """Two of them; counts what is read."""

    def __init__(self) -> None:
        self.dead = ""
        self.epoch = 1
        self.reads: list[str] = []

    def read(self, place: Place) -> ReplicaFacts | None:
        self.reads.append(place.volume_id)
        if place.volume_group == self.dead:
            return None
        group, epoch = place.volume_group, self.epoch
        return ReplicaFacts(place.volume_id, "r0", group, 1, epoch, 1, suspect=False, volatile_cache=False)


def test_all_are_told_of_and_few_read_again() -> None:
    disks = Disks()
    remembered = Remembered(disks.read)
    first = remembered.list_all(PLACES)
    assert len(first) == len(disks.reads) == COUNT
    assert remembered.list_all(PLACES) == first
    assert len(disks.reads) == COUNT + AT_ONCE


def test_each_is_read_again_after_some_calls() -> None:
    disks = Disks()
    remembered = Remembered(disks.read)
    remembered.list_all(PLACES)
    disks.reads.clear()
    for _ in range(TURNS):
        remembered.list_all(PLACES)
    assert sorted(disks.reads) == sorted(place.volume_id for place in PLACES)


def test_what_was_changed_is_read_again_at_once() -> None:
    disks = Disks()
    remembered = Remembered(disks.read)
    remembered.list_all(PLACES)
    disks.epoch = 2
    remembered.forget("v1", "r0")
    remembered.forget("v2", "r0")
    epochs = {facts.volume_id: facts.epoch for facts in remembered.list_all(PLACES)}
    assert (epochs["v1"], epochs["v2"]) == (2, 2)


def test_what_was_changed_while_it_was_read_is_not_remembered() -> None:
    disks = Disks()

    def read(place: Place) -> ReplicaFacts | None:
        facts = disks.read(place)
        if disks.epoch == 1:
            remembered.forget(place.volume_id, place.replica_id)
        return facts

    remembered = Remembered(read)
    remembered.list_all(PLACES)
    disks.epoch = 2
    assert {facts.epoch for facts in remembered.list_all(PLACES)} == {2}


def test_a_dead_disk_takes_with_it_all_that_it_held() -> None:
    disks = Disks()
    remembered = Remembered(disks.read)
    remembered.list_all(PLACES)
    disks.dead = "group1"
    told = [remembered.list_all(PLACES) for _ in range(TURNS)][-1]
    assert {facts.volume_group for facts in told} == {"group0"}


def test_a_replica_that_was_removed_is_not_told_of() -> None:
    remembered = Remembered(Disks().read)
    remembered.list_all(PLACES)
    assert len(remembered.list_all(PLACES[1:])) == COUNT - 1
