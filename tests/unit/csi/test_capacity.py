"""How capacity ranges become sizes."""

import pytest

from csi.capacity import LEAST_BYTES, STEP_BYTES, CapacityRange, choose_size, parse_capacity_range
from replication.control.placement import EXTENT_BYTES
from replication.errors import InvalidRequest, OutOfRange
from replication.model import GIB, MIB
from tests.unit.csi.requests import capacity


def test_without_a_range_the_default_is_made() -> None:
    assert choose_size(parse_capacity_range(capacity())) == GIB


def test_a_required_size_is_rounded_up_to_whole_extents() -> None:
    assert choose_size(CapacityRange(10 * MIB + 1)) == 12 * MIB


def test_an_exact_size_is_kept() -> None:
    assert choose_size(CapacityRange(256 * MIB, 256 * MIB)) == 256 * MIB


def test_a_limit_alone_is_honoured() -> None:
    assert choose_size(CapacityRange(0, 99 * MIB)) == 96 * MIB


@pytest.mark.parametrize("wanted", [CapacityRange(5 * MIB, 6 * MIB), CapacityRange(0, STEP_BYTES - 1)])
def test_a_range_without_a_possible_size_is_out_of_range(wanted: CapacityRange) -> None:
    with pytest.raises(OutOfRange, match="multiples of 4194304"):
        choose_size(wanted)


@pytest.mark.parametrize(("required", "limit"), [(-1, 0), (0, -1), (2, 1)])
def test_a_range_that_makes_no_sense_is_refused(required: int, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="capacity_range"):
        parse_capacity_range(capacity(required, limit))


@pytest.mark.parametrize(("size", "expected"), [(9, False), (10, True), (20, True), (21, False)])
def test_a_range_admits_what_lies_between_its_ends(size: int, expected: bool) -> None:
    assert CapacityRange(10, 20).admits(size) is expected


def test_without_a_limit_every_larger_size_is_admitted() -> None:
    assert CapacityRange(10).admits(1 << 60)


def test_control_makes_what_was_chosen_here() -> None:
    assert STEP_BYTES == EXTENT_BYTES


def test_what_a_file_system_needs_is_the_least_there_is() -> None:
    assert choose_size(CapacityRange(10 * MIB), LEAST_BYTES["xfs"]) == 300 * MIB
    with pytest.raises(OutOfRange, match="from 314572800 on"):
        choose_size(CapacityRange(0, 200 * MIB), LEAST_BYTES["xfs"])
