"""Who starts, who does not, and in which order."""

from dataclasses import replace

import pytest

from replication.control import starting
from replication.errors import (
    DataLoss,
    FailedPrecondition,
    KernelError,
    NotFound,
    StaleEpoch,
    TimedOut,
    TrilithError,
    Unavailable,
)
from replication.model import CopyMode, Prepared, Target
from tests.unit.control.records import detached, header, volume

TARGET = Target("nqn", "10.0.0.1", 4420, "host")


def answer(number: int, *, boot: str = "boot-1", suspect: bool = False) -> Prepared:
    node = "abcde"[number]
    return Prepared(header(f"r{number}", node, suspect=suspect), boot, None if node == "a" else TARGET)


def test_who_answers_starts_and_who_does_not_is_left_out() -> None:
    answers: dict[str, Prepared | TrilithError] = {"r0": answer(0), "r1": TimedOut("late")}
    start = starting.choose_start(detached(), answers | {"r2": FailedPrecondition("an array holds it")})
    assert set(start.ready) == {"r0"}
    assert start.left_out == {"r1": CopyMode.UNLESS_BOOTED, "r2": CopyMode.FULL}
    assert start.reasons == {"r1": "late", "r2": "an array holds it"}


def test_nobody_starts_when_nobody_answers() -> None:
    with pytest.raises(Unavailable, match="r0 on a: silent"):
        starting.choose_start(detached("i"), {"r0": Unavailable("silent")})


def test_a_record_older_than_a_disk_starts_nothing() -> None:
    with pytest.raises(DataLoss, match="was the state store restored"):
        starting.choose_start(detached(), {"r0": answer(0), "r1": StaleEpoch("seen 9")})


@pytest.mark.parametrize(
    ("worse", "better", "starts"),
    [
        (answer(0, boot="boot-2"), answer(1), {"r1"}),
        (answer(0, suspect=True), answer(1, boot="boot-2"), {"r1"}),
        (answer(0, suspect=True), answer(1), {"r1"}),
    ],
    ids=["booted", "suspect and booted", "suspect"],
)
def test_who_may_lack_writes_starts_only_if_nobody_better_does(
    worse: Prepared, better: Prepared, starts: set[str]
) -> None:
    record = detached("iis", resync_source="r0")
    assert set(starting.choose_start(record, {"r0": worse, "r1": better}).ready) == starts
    assert set(starting.choose_start(record, {"r0": worse}).ready) == {"r0"}


def test_a_suspect_replica_does_not_start_while_one_is_not_there_that_may_have_what_it_refused() -> None:
    answers: dict[str, Prepared | TrilithError] = {"r0": answer(0, suspect=True)}
    with pytest.raises(Unavailable, match="r1 on b: silent"):
        starting.choose_start(detached(), answers | {"r1": Unavailable("silent")})
    with pytest.raises(Unavailable, match="trilith node remove NODE --lost"):
        starting.choose_start(detached(), answers | {"r1": FailedPrecondition("an array holds it")})
    for gone in (NotFound("its disk is another one"), DataLoss("an old copy"), KernelError("cannot be read")):
        with pytest.raises(Unavailable, match="others may have it: r1 on b"):
            starting.choose_start(detached(), answers | {"r1": gone})
    better: dict[str, Prepared | TrilithError] = {"r1": answer(1), "r2": Unavailable("silent")}
    assert set(starting.choose_start(detached(), answers | better).ready) == {"r1"}


@pytest.mark.parametrize(
    ("answers", "enough"),
    [
        ({}, False),
        ({"r0": Unavailable("silent")}, False),
        ({"r0": answer(0, boot="boot-2")}, False),
        ({"r0": answer(0, suspect=True)}, False),
        ({"r0": answer(0, suspect=True), "r1": answer(1)}, True),
    ],
)
def test_enough_is_an_answer_of_somebody_who_lacks_nothing_for_sure(
    answers: dict[str, Prepared | TrilithError], enough: bool
) -> None:
    assert starting.are_enough(detached("iis", resync_source="r0"), answers) is enough


def test_who_has_booted_or_refused_a_write_or_does_not_answer_is_not_sure() -> None:
    answers: dict[str, Prepared | TrilithError] = {
        "r0": answer(0, suspect=True),
        "r1": answer(1, boot="boot-2"),
        "r2": answer(2),
        "r3": TimedOut("late"),
    }
    assert starting.list_sure(detached("iiii", resync_source="r0"), answers) == ("r2",)
    assert starting.list_sure(detached("iiii"), answers) == ("r1", "r2")


def test_there_have_to_be_as_many_as_may_be_written_to() -> None:
    record = replace(detached(), min_in_sync=2)
    answers: dict[str, Prepared | TrilithError] = {"r0": answer(0)}
    assert not starting.are_enough(record, answers)
    assert starting.are_enough(replace(record, upkeep=True), answers)
    assert starting.are_enough(record, answers | {"r1": answer(1)})


def test_a_boot_after_a_clean_end_is_no_doubt() -> None:
    answers = {"r0": answer(0, boot="boot-2"), "r1": answer(1)}
    assert set(starting.choose_start(detached("iis"), answers).ready) == {"r0", "r1"}


@pytest.mark.parametrize(
    ("source", "order"),
    [(None, ["r0", "r1", "r2"]), ("r2", ["r2", "r0", "r1"])],
    ids=["the consumer's own first", "the source of a resync first"],
)
def test_members_are_in_sync_and_in_order(source: str | None, order: list[str]) -> None:
    record = volume("iiis", resync_source=source)
    members = starting.order_members(record, {f"r{n}": answer(n) for n in range(4)})
    assert [member.replica_id for member in members] == order
