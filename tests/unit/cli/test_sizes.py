"""Sizes and times as people write and read them."""

import pytest

from replication.cli.sizes import format_seconds, format_size, parse_size
from replication.model import GIB, MIB


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512MiB", 512 * MIB),
        ("1GiB", GIB),
        ("1gib", GIB),
        ("1 GiB", GIB),
        ("1.5GiB", 1536 * MIB),
        ("10G", 10_000_000_000),
        ("10GB", 10_000_000_000),
        ("4096", 4096),
        ("4096B", 4096),
        ("9223372036854775807", (1 << 63) - 1),
    ],
)
def test_sizes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "GiB", "-1GiB", "0", "0.1B", "1GiBB", "1,5GiB", "1e9", "0x10", "1 G iB", "nan", "8EiB", "1" * 30],
)
def test_nonsense_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="say for example 512MiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536 * MIB, "1.5 GiB"), (100 * GIB - 1, "99.9 GiB")],
)
def test_sizes_are_shown_in_the_largest_unit(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_times_are_shown_in_their_two_largest_units(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
