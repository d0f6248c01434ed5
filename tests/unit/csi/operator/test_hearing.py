"""What nodes have said lately."""

from csi.operator.hearing import LATELY_SECONDS, Hearing
from replication.errors import Unavailable
from tests.fakes.clock import HandClock
from tests.unit.csi.operator.values import facts

SILENT = Unavailable("no answer in time")


def test_what_was_said_counts_for_a_while() -> None:
    clock = HandClock()
    hearing, said = Hearing(clock), facts("a")
    assert hearing.recall({"a": said, "b": None}) == {"a": said}
    clock.sleep(LATELY_SECONDS - 1)
    assert hearing.recall({"a": SILENT, "b": facts("b")}) == {"a": said, "b": facts("b")}
    clock.sleep(1)
    assert hearing.recall({"a": SILENT, "b": None}) == {"b": facts("b")}


def test_the_newest_word_counts_and_nodes_that_left_have_none() -> None:
    hearing, newer = Hearing(HandClock()), facts("a", pools={"/dev/nvme0n1": "nvme"})
    hearing.recall({"a": facts("a"), "b": facts("b")})
    assert hearing.recall({"a": newer}) == {"a": newer}
    assert hearing.recall({"a": None, "b": None}) == {"a": newer}
