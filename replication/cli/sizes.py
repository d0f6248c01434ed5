"""Sizes and times as people write and read them."""

import re

import click

UNITS = {
    "": 1,
    "B": 1,
    "K": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KIB": 1 << 10,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}

EXAMPLES = "512MiB, 1GiB, 1.5TiB, 10G (powers of 1000) or a number of bytes"
MAX_BYTES = (1 << 63) - 1

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([a-zA-Z]*)")


def parse_size(text: str) -> int:
    """Bytes; ValueError says what is wrong and gives examples."""
    match = _SIZE.fullmatch(text.strip())
    factor = UNITS.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; say for example {EXAMPLES}")
    size_bytes = _scale(match[1], factor)
    if not 0 < size_bytes <= MAX_BYTES:
        raise ValueError(f"{text!r} is not a size that a volume can have; say for example {EXAMPLES}")
    return size_bytes


def format_size(size_bytes: int) -> str:
    """In the largest unit that leaves at least one whole, never more than it is: 1536 MiB are 1.5 GiB."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = UNITS[unit.upper()]
        if size_bytes >= factor:
            return f"{size_bytes * 10 // factor / 10:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} B"


def format_seconds(seconds: float) -> str:
    """The two largest units: 3 d 4 h, 5 min 6 s, 7 s."""
    left = max(0, round(seconds))
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


class Size(click.ParamType[int]):
    """A size on the command line."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _scale(number: str, factor: int) -> int:
    """Exactly, where a float would lose the last bytes of large whole numbers."""
    whole, _, fraction = number.partition(".")
    part = int(fraction or "0") * factor // int("1" + "0" * len(fraction))
    return int(whole) * factor + part
