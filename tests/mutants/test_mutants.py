"""The mutants are what they say, and the hunt can fail. `make mutants` hunts them all."""

import pytest

from replication.control import insync
from tests.mutants.hunt import fails, hunt
from tests.mutants.listed import MUTANTS
from tests.mutants.mistakes import epoch_reused
from tests.mutants.mutant import ENUMERATION, Mutant, applied, resolve
from tests.simulation import agent
from tests.unit.control.records import detached

AT_LEAST = 30
EPOCH = "tests/unit/control/test_insync.py::test_attaching_raises_the_epoch"


def test_there_are_many_and_each_has_its_own_name() -> None:
    names = {mutant.name for mutant in MUTANTS}
    assert len(names) == len(MUTANTS) >= AT_LEAST


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_changes_what_there_is_and_leaves_it_as_it_was(mutant: Mutant) -> None:
    owner, attribute = resolve(mutant.target)
    before = vars(owner)[attribute]
    with applied(mutant):
        assert vars(owner)[attribute] is not before
    assert vars(owner)[attribute] is before
    assert mutant.caught_by


def test_a_name_that_the_product_has_not_is_told() -> None:
    with pytest.raises(AttributeError, match="no such thing any more"):
        resolve("replication.control.insync:begin_to_attach")


def test_a_mutant_reaches_whoever_took_the_name_for_himself() -> None:
    mutant = Mutant("epoch reused", "replication.control.insync:begin_attach", epoch_reused, (EPOCH,))
    with applied(mutant):
        assert insync.begin_attach(detached(), "b").epoch == 1
    assert insync.begin_attach(detached(), "b").epoch == 2


def test_a_mutant_that_nothing_catches_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    harmless = Mutant("nothing", "replication.control.insync:begin_attach", lambda it: it, (EPOCH,))
    assert not hunt(harmless)
    assert f"mutant 'nothing' survived {EPOCH}" in capsys.readouterr().out


def test_a_test_that_is_not_there_catches_nothing() -> None:
    with pytest.raises(RuntimeError, match="cannot be run"):
        fails("tests/unit/control/test_insync.py::test_of_nothing")


def test_one_is_caught_by_the_enumeration_here_and_now(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = next(m for m in MUTANTS if m.name == "in_sync before the recovery ends")
    assert ENUMERATION in chosen.caught_by
    assert hunt(chosen)
    assert "caught by the enumeration" in capsys.readouterr().out


def test_what_was_asked_before_a_mistake_is_asked_again() -> None:
    before = agent.make_link(0, 1, 1, 0)
    nameless = Mutant(
        "no name", "replication.agent.names:ExportName.__str__", lambda _: lambda name: name.boot, ()
    )
    with applied(nameless):
        assert agent.make_link(0, 1, 1, 0).name == "00000000"
    assert agent.make_link(0, 1, 1, 0) == before
