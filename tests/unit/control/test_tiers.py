import pytest

from replication.control.tiers import DEFAULT, TIERS, check_tier, effective
from replication.errors import InvalidRequest
from replication.model import Limits


def test_without_a_word_the_default_tier_holds() -> None:
    assert effective(Limits()) == TIERS[DEFAULT]


def test_own_numbers_replace_those_of_the_tier() -> None:
    asked = Limits("basic", read_operations=500, write_bytes=1 << 20)
    assert effective(asked) == Limits("basic", 500, 45_000, 0, 1 << 20)


def test_an_unknown_tier_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match="'gold': must be one of basic, standard, premium"):
        check_tier("gold")
