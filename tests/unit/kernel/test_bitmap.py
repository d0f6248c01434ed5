import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from replication.kernel.bitmap import clear_bits, count_chunks, format_set_bits, parse_bits, read_bits, unite
from replication.layout import BITMAP_OFFSET_BYTES, DATA_OFFSET_BYTES

CHUNKS = 400


def area(bits: set[int]) -> bytes:
    """As md lays it down: bit k is chunk k, little-endian."""
    return sum(1 << bit for bit in bits).to_bytes(CHUNKS // 8, "little")


def expand(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return {chunk for first, last in ranges for chunk in range(first, last + 1)}


@given(st.sets(st.integers(0, CHUNKS - 1)), st.integers(1, CHUNKS))
def test_set_bits_below_the_end_are_found(bits: set[int], chunks: int) -> None:
    ranges = parse_bits(area(bits), chunks)
    assert expand(ranges) == {bit for bit in bits if bit < chunks}
    assert all(first > last + 1 for (_, last), (first, _) in itertools.pairwise(ranges))


@given(st.lists(st.sets(st.integers(0, CHUNKS - 1)), max_size=5))
def test_a_union_has_every_members_bits(several: list[set[int]]) -> None:
    united = unite(parse_bits(area(bits), CHUNKS) for bits in several)
    assert expand(united) == set().union(*several)
    assert united == tuple(sorted(united))
    assert count_chunks(united) == len(set().union(*several))


def test_ranges_are_written_as_md_reads_them() -> None:
    assert format_set_bits(((0, 0), (3, 9), (12, 12))) == ("0 3-9 12",)
    assert format_set_bits(()) == ()


def test_many_ranges_take_several_writes_each_below_a_page() -> None:
    ranges = tuple((chunk, chunk + 1) for chunk in range(1_000_000, 1_010_000, 5))
    texts = format_set_bits(ranges)
    assert len(texts) > 1
    assert all(len(text) < 4096 for text in texts)
    assert " ".join(texts) == " ".join(f"{first}-{last}" for first, last in ranges)


def test_bits_lie_behind_the_header_and_can_be_cleared(tmp_path: Path) -> None:
    device = tmp_path / "replica"
    device.write_bytes(bytes(DATA_OFFSET_BYTES))
    with device.open("r+b") as file:
        file.seek(BITMAP_OFFSET_BYTES)
        file.write(area({0, 5, 6, 399}))
    size = CHUNKS * 65536
    assert read_bits(str(device), size, 65536) == ((0, 0), (5, 6), (399, 399))
    assert read_bits(str(device), size - 65536, 65536) == ((0, 0), (5, 6))
    clear_bits(str(device))
    assert read_bits(str(device), size, 65536) == ()
