from hypothesis import given
from hypothesis import strategies as st

from replication.layout import PART_AREA_BYTES, grow, split
from replication.model import MIB

STEP = PART_AREA_BYTES
rooms = st.lists(st.integers(0, 40 * MIB), min_size=1, max_size=5)
sizes = st.integers(1, 80 * MIB)


def test_one_after_the_other_is_filled_and_each_gets_something() -> None:
    assert split(50 * MIB, [40 * MIB, 40 * MIB], striped=False) == (40 * MIB, 20 * MIB)
    assert split(5 * MIB, [40 * MIB, 40 * MIB], striped=False) == (8 * MIB, 8 * MIB)
    assert split(72 * MIB, [40 * MIB, 40 * MIB], striped=False) == (40 * MIB, 40 * MIB)
    assert split(73 * MIB, [40 * MIB, 40 * MIB], striped=False) is None


def test_a_striped_one_takes_the_same_of_each() -> None:
    assert split(50 * MIB, [40 * MIB, 32 * MIB], striped=True) == (32 * MIB, 32 * MIB)
    assert split(57 * MIB, [40 * MIB, 32 * MIB], striped=True) is None


@given(sizes, rooms)
def test_what_does_not_fit_in_a_row_lacks_room_somewhere(size: int, rooms: list[int]) -> None:
    gives = [room // STEP * STEP - STEP for room in rooms]
    fits = min(gives) > 0 and len(rooms) * STEP - STEP < size <= sum(gives)
    assert (split(size, rooms, striped=False) is not None) == fits


@given(sizes, rooms, st.booleans())
def test_parts_hold_what_is_asked_within_their_rooms(size: int, rooms: list[int], striped: bool) -> None:
    found = split(size, rooms, striped=striped) or ()
    assert all(STEP < part <= room and part % STEP == 0 for part, room in zip(found, rooms, strict=False))
    assert not found or sum(part - STEP for part in found) >= size


@given(sizes, rooms, st.booleans(), st.integers(0, 40 * MIB))
def test_parts_grow_so_that_what_is_there_stays_where_it_is(
    size: int, rooms: list[int], striped: bool, more: int
) -> None:
    found = split(size, rooms, striped=striped)
    if found is None:
        return
    grown = grow(size + more, found, striped=striped)
    assert striped or grown[:-1] == found[:-1]
    assert all(then <= now for then, now in zip(found, grown, strict=True))
    given_bytes = min(grown) * len(grown) if striped else sum(grown)
    assert given_bytes - STEP * len(grown) >= size + more
    assert grow(size, grown, striped=striped) == grown
