from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication import layout
from replication.errors import DataLoss, OutOfRange, Unsupported
from replication.kernel import header
from replication.kernel.direct import BLOCK_BYTES, write_direct
from replication.kernel.header import (
    Header,
    decode,
    discard_header,
    encode,
    find_header,
    is_discarded,
    read_header,
    remove_header,
    write_header,
)
from replication.layout import choose_bitmap_chunk

HEADER = Header(
    cluster="9f3c", volume_id="v0123456789abcdef", replica_id="r2", generation=1, epoch=7,
    record_version=42, size_bytes=1 << 30, bitmap_chunk_bytes=65536,
)  # fmt: skip


@pytest.fixture
def device(tmp_path: Path) -> str:
    path = tmp_path / "replica"
    path.write_bytes(bytes(layout.HEADER_AREA_BYTES))
    return str(path)


@given(
    st.builds(
        Header,
        cluster=st.text(max_size=60), volume_id=st.text(max_size=60), replica_id=st.text(max_size=60),
        generation=st.integers(0, 2**63), epoch=st.integers(0, 2**63), record_version=st.integers(0, 2**63),
        size_bytes=st.integers(0, 2**63), bitmap_chunk_bytes=st.integers(0, 2**31), suspect=st.booleans(),
        sequence=st.integers(0, 2**63),
    )
)  # fmt: skip
def test_what_is_encoded_is_decoded(header: Header) -> None:
    block = encode(header)
    assert (len(block), decode(block)) == (BLOCK_BYTES, header)


def test_any_changed_byte_is_noticed() -> None:
    block = encode(HEADER)
    for position in range(0, BLOCK_BYTES, 7):
        damaged = bytearray(block)
        damaged[position] ^= 1
        assert decode(bytes(damaged)) is None


def test_a_newer_format_is_refused_and_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "_FORMAT", 2)
    block = encode(HEADER)
    monkeypatch.undo()
    with pytest.raises(Unsupported, match="format 2"):
        decode(block)


def test_a_header_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OutOfRange):
        encode(replace(HEADER, cluster="x" * BLOCK_BYTES))


def test_zeroes_are_no_header(device: str) -> None:
    assert find_header(device) is None
    with pytest.raises(DataLoss, match="no replica's header"):
        read_header(device)


def test_the_newest_write_wins(device: str) -> None:
    first = write_header(device, HEADER)
    second = write_header(device, replace(first, epoch=8))
    assert second.sequence == first.sequence + 1
    assert read_header(device) == second


@pytest.mark.parametrize("torn", layout.COPY_OFFSETS_BYTES)
def test_one_damaged_copy_brings_no_older_epoch_back(device: str, torn: int) -> None:
    write_header(device, HEADER)
    newest = write_header(device, replace(HEADER, epoch=8))
    write_direct(device, torn, b"\xff" * BLOCK_BYTES)
    assert read_header(device) == newest
    healed = write_header(device, replace(HEADER, epoch=9))
    assert healed.sequence == newest.sequence + 1
    assert all(decode(Path(device).read_bytes()[at : at + BLOCK_BYTES]) == healed for at in (0, 65536))


def test_a_write_torn_after_its_first_copy_leaves_a_valid_header(device: str) -> None:
    old = write_header(device, HEADER)
    new = replace(HEADER, epoch=8, sequence=old.sequence + 1)
    write_direct(device, 0, encode(new))
    assert read_header(device) == new
    write_direct(device, 0, encode(new)[:2048] + bytes(2048 - 0))
    assert read_header(device) in (old, new)


def test_two_damaged_copies_are_data_loss_naming_the_device(device: str) -> None:
    write_header(device, HEADER)
    for offset in layout.COPY_OFFSETS_BYTES:
        write_direct(device, offset, b"\xff" * BLOCK_BYTES)
    with pytest.raises(DataLoss, match=device):
        find_header(device)


def test_a_removed_header_is_gone(device: str) -> None:
    write_header(device, HEADER)
    for _ in range(2):
        remove_header(device)
    assert find_header(device) is None


def test_a_discarded_header_is_gone_and_known_for_it(device: str) -> None:
    assert not is_discarded(device)
    write_header(device, HEADER)
    assert not is_discarded(device)
    for _ in range(2):
        discard_header(device)
        assert (find_header(device), is_discarded(device)) == (None, True)
    assert write_header(device, HEADER) == read_header(device)
    assert not is_discarded(device)


def test_a_header_whose_discarding_was_cut_short_is_valid(device: str) -> None:
    """Until its last copy is overwritten; a copy that is damaged does not count."""
    stored = write_header(device, HEADER)
    last = Path(device).read_bytes()[65536 : 65536 + BLOCK_BYTES]
    discard_header(device)
    write_direct(device, 65536, last)
    assert (find_header(device), is_discarded(device)) == (stored, False)
    write_direct(device, 65536, b"\xff" * BLOCK_BYTES)
    assert is_discarded(device)


@pytest.mark.parametrize(
    ("size", "chunk"),
    [(1, 4 << 20), (64 << 30, 4 << 20), ((64 << 30) + 1, 8 << 20), (10 << 40, 1 << 30)],
)
def test_the_chunk_grows_with_the_volume_and_leaves_room_to_grow(size: int, chunk: int) -> None:
    assert choose_bitmap_chunk(size) == chunk
    assert layout.largest_data_bytes(chunk) >= size * layout.GROWTH


def test_a_volume_that_no_bitmap_can_describe_is_out_of_range() -> None:
    with pytest.raises(OutOfRange):
        choose_bitmap_chunk(1 << 60)


def test_the_areas_do_not_overlap() -> None:
    assert max(layout.COPY_OFFSETS_BYTES) + BLOCK_BYTES <= layout.HEADER_AREA_BYTES
    assert layout.HEADER_AREA_BYTES <= layout.BITMAP_OFFSET_BYTES
    assert layout.BITMAP_OFFSET_BYTES + layout.BITMAP_SPACE_BYTES + (1 << 20) <= layout.DATA_OFFSET_BYTES
