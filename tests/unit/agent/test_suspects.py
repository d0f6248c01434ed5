"""A disk refuses a write: the header of the replica that it was for says so, until all of it is copied."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replication.agent import headers
from replication.agent.replicas import Replicas
from replication.agent.storage import Place
from replication.agent.suspects import Marking
from replication.agent.wiping import Wiping
from replication.clock import SystemClock, wait_until
from replication.errors import KernelError, NotFound
from replication.kernel.dm_wire import Target
from replication.kernel.header import Header, read_header
from replication.kernel.nvmet import Nvmet
from replication.kernel.refusals import Refusal
from replication.model import PrepareSpec
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.agent.test_replicas import Shelf, add
from tests.unit.kernel.fake_nvmet import FakeNvmet

DISK = "259:0"
SECTORS = 4096


class Told:
    """Two replicas, one behind the other on one disk, of which somebody tells what it refuses."""

    def __init__(self) -> None:
        self.events: list[Refusal] = []
        self.devices: dict[str, str] = {}  # of device-mapper, by name

    def refuse(self, start: int) -> None:
        self.events.append(Refusal(DISK, start, 8))

    def wait(self, timeout: float) -> None:
        SystemClock().sleep(min(timeout, 0.01))

    def read(self) -> tuple[Refusal, ...]:
        found, self.events = tuple(self.events), []
        return found

    def mapped(self) -> dict[str, str]:
        return self.devices

    def table(self, number: str) -> tuple[Target, ...]:
        return (Target(0, SECTORS, "linear", f"{DISK} {int(number.split(':')[1]) * SECTORS}"),)


@pytest.fixture
def tree(tmp_path: Path) -> FakeNvmet:
    return FakeNvmet(tmp_path)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def replicas(tree: FakeNvmet, shelf: Shelf, told: Told) -> Replicas:
    return begin(tree, shelf, told)


def begin(tree: FakeNvmet, shelf: Shelf, told: Told) -> Replicas:
    """An agent that finds the machine as it is."""
    machine = replace(fake_machine(tree), target=Nvmet(tree), refusals=told)
    return Replicas(machine, shelf, Wiping(machine, shelf))


@pytest.fixture
def first(tree: FakeNvmet, shelf: Shelf) -> str:
    """The device of `v0`'s replica; `v1`'s lies behind it."""
    device = add(tree, shelf, "v0")
    add(tree, shelf, "v1")
    return str(device)


@pytest.fixture
def marking(replicas: Replicas) -> Iterator[Marking]:
    made = Marking(replicas.suspects, replicas.mark_suspect, SystemClock())
    made.start()
    yield made
    made.stop()


def wait(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what, timeout=10, clock=SystemClock())


def prepare(replicas: Replicas, volume: str, version: int = 9, *, full_copy: bool = False) -> bool:
    """Whether it is suspect."""
    spec = PrepareSpec(volume, "r0", 4, version, None, full_copy=full_copy)
    return replicas.prepare(spec).facts.suspect


def test_a_header_says_what_its_disk_has_refused(replicas: Replicas, told: Told, first: str) -> None:
    told.refuse(SECTORS + 8)
    assert (prepare(replicas, "v0"), prepare(replicas, "v1")) == (False, True)
    assert prepare(replicas, "v1", 10)
    assert not read_header(first).suspect


@pytest.mark.usefixtures("marking")
def test_it_says_so_without_being_asked(told: Told, first: str) -> None:
    told.refuse(8)
    wait(lambda: read_header(first).suspect, "the mark")
    assert read_header(first).epoch == 3


@pytest.mark.usefixtures("marking")
def test_a_header_that_cannot_be_read_is_marked_when_it_can(
    replicas: Replicas, told: Told, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.agent.suspects._TRY_AGAIN", 0.01)
    whole = Path(first).read_bytes()
    Path(first).write_bytes(b"")
    told.refuse(8)
    wait(lambda: replicas.suspects.has("v0", "r0"), "the event")
    Path(first).write_bytes(whole)
    wait(lambda: not replicas.suspects.has("v0", "r0"), "the mark")
    assert read_header(first).suspect


def test_an_agent_that_begins_anew_knows_what_the_one_before_it_could_not_write_down(
    replicas: Replicas, told: Told, first: str, tree: FakeNvmet, shelf: Shelf
) -> None:
    """Who reads an event takes it out of the kernel's buffer; the disk refused the mark as well."""
    whole = Path(first).read_bytes()
    Path(first).write_bytes(b"")
    told.refuse(8)
    assert replicas.suspects.has("v0", "r0")
    with pytest.raises(KernelError):
        replicas.mark_suspect("v0", "r0")
    Path(first).write_bytes(whole)
    assert prepare(begin(tree, shelf, told), "v0")
    assert not begin(tree, shelf, told).suspects.has("v0", "r0")


@pytest.mark.usefixtures("first")
def test_what_cannot_be_kept_for_the_next_agent_is_known_to_this_one(
    replicas: Replicas, told: Told, tree: FakeNvmet, shelf: Shelf
) -> None:
    tree.path("/run").write_text("no directory")
    told.refuse(8)
    assert prepare(replicas, "v0")
    assert not begin(tree, shelf, told).suspects.has("v0", "r0")


def test_a_full_copy_makes_it_good(replicas: Replicas, told: Told, first: str) -> None:
    told.refuse(8)
    assert prepare(replicas, "v0")
    told.refuse(8)
    assert not prepare(replicas, "v0", 10, full_copy=True)
    assert not prepare(replicas, "v0", 11)
    assert not read_header(first).suspect


def test_words_of_an_earlier_copy_that_come_late_do_not(replicas: Replicas, told: Told, first: str) -> None:
    assert not prepare(replicas, "v0", 11, full_copy=True)
    told.refuse(8)
    assert prepare(replicas, "v0", 10, full_copy=True)
    assert read_header(first).suspect


def test_words_of_a_copy_that_come_twice_do_not(replicas: Replicas, told: Told, first: str) -> None:
    assert not prepare(replicas, "v0", 11, full_copy=True)
    told.refuse(8)
    assert prepare(replicas, "v0", 11, full_copy=True)
    assert read_header(first).suspect


def test_what_is_refused_while_it_is_made_ready_stays_known(
    replicas: Replicas, told: Told, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else hears of it, and nobody has marked it yet: a word that comes twice is in use by then."""
    write = headers.write

    def write_and_hear(place: Place, head: Header) -> Header:
        stored = write(place, head)
        told.refuse(8)
        assert not replicas.suspects.has("v1", "r0")
        return stored

    monkeypatch.setattr(headers, "write", write_and_hear)
    assert not prepare(replicas, "v0")
    assert replicas.suspects.has("v0", "r0")
    assert not read_header(first).suspect


@pytest.mark.usefixtures("first")
def test_a_replica_that_was_removed_is_none_any_more(replicas: Replicas, told: Told) -> None:
    told.refuse(8)
    assert replicas.suspects.has("v0", "r0")
    replicas.remove("v0", "r0")
    assert not replicas.suspects.has("v0", "r0")


@pytest.mark.usefixtures("first")
def test_a_replica_whose_disk_is_away_stays_suspect(replicas: Replicas, told: Told, shelf: Shelf) -> None:
    told.refuse(8)
    assert replicas.suspects.has("v0", "r0")
    away, shelf.places = shelf.places, []
    with pytest.raises(NotFound):
        replicas.mark_suspect("v0", "r0")
    shelf.places = away
    assert prepare(replicas, "v0")


@pytest.mark.parametrize("name", ["v0_r0", "v0_r0_1of2", "v0_r0_2of2.striped"])
@pytest.mark.usefixtures("first")
def test_a_disk_that_lvm_does_not_show_is_known_by_what_goes_on_with_it(
    replicas: Replicas, told: Told, shelf: Shelf, name: str
) -> None:
    """It erred when the agent began; the export of before goes on."""
    away, shelf.places = shelf.places, []
    told.devices = {"trilith-v0-r0-3": "253:7", f"trilith_0000000a-{name}": "253:0", "root": "253:8"}
    told.refuse(SECTORS + 8)
    assert not replicas.suspects.has("v0", "r0")
    told.refuse(8)
    assert replicas.suspects.has("v0", "r0")
    shelf.places = away
    assert prepare(replicas, "v0")


def test_a_device_that_is_gone_keeps_nobody_else_from_being_marked(
    replicas: Replicas, told: Told, tree: FakeNvmet, first: str
) -> None:
    del tree.numbers[first]
    Path(first).unlink()
    told.refuse(SECTORS + 8)
    assert prepare(replicas, "v1")


@pytest.mark.usefixtures("first")
def test_what_cannot_be_looked_for_now_is_looked_for_later(
    replicas: Replicas, told: Told, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.refuse(8)
    with monkeypatch.context() as broken:
        broken.setattr(shelf, "list_places", fail)
        with pytest.raises(KernelError):
            replicas.suspects.collect()
    assert replicas.suspects.has("v0", "r0")


def fail() -> None:
    raise KernelError("not now")
