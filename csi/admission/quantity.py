"""Quantities as Kubernetes writes them: 10Gi, 1.5G, 3e9, 500m."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([eE][+-]?\d{1,3})|(m|k|[MGTPE]i?|Ki)?)")
_FACTORS = {"": Decimal(1), "m": Decimal("0.001")} | {
    name + mark: Decimal(base) ** power
    for base, mark in ((1000, ""), (1024, "i"))
    for power, name in enumerate(("K" if mark else "k", "M", "G", "T", "P", "E"), start=1)
}


def parse_quantity(text: object) -> int:
    """In whole units, rounded up; 0 for what is none, since the API server has checked it."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        return 0
    number, exponent, suffix = match.groups()
    value = Decimal(f"{number}{exponent or ''}") * _FACTORS[suffix or ""]
    return int(value.to_integral_value(rounding="ROUND_CEILING"))
