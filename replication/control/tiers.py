"""What a volume may do in a second, by its tier and its own numbers. Pure.

The tiers are those of the product that users come from; here they bound a volume, and cost nothing when idle.
"""

from replication.errors import InvalidRequest
from replication.model import Limits

DEFAULT = "standard"
TIERS = {
    "basic": Limits("basic", read_operations=120_000, write_operations=45_000),
    "standard": Limits("standard", read_operations=220_000, write_operations=90_000),
    "premium": Limits("premium", read_operations=550_000, write_operations=180_000),
}


def check_tier(name: str) -> str:
    if name not in TIERS:
        raise InvalidRequest(f"tier {name!r}: must be one of {', '.join(TIERS)}")
    return name


def effective(limits: Limits) -> Limits:
    """What holds: the volume's own numbers, else its tier's; 0 where neither says anything."""
    tier = TIERS[check_tier(limits.tier or DEFAULT)]
    return Limits(
        tier=tier.tier,
        read_operations=limits.read_operations or tier.read_operations,
        write_operations=limits.write_operations or tier.write_operations,
        read_bytes=limits.read_bytes or tier.read_bytes,
        write_bytes=limits.write_bytes or tier.write_bytes,
    )
