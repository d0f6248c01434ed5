"""The parameters of a StorageClass and of a VolumeAttributesClass.

InvalidRequest names the key, its value and what is allowed. Kubernetes' own keys are not ours to refuse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from csi.capabilities import check_filesystem
from replication.control.settings import MINIMUM
from replication.control.tiers import TIERS
from replication.errors import InvalidRequest
from replication.model import NO_LIMITS, Limits

KUBERNETES_PREFIX = "csi.storage.k8s.io/"
FILESYSTEM = KUBERNETES_PREFIX + "fstype"
REPLICA_COUNTS = ("1", "3", "5")
MINIMUMS = ("1", "2", "3", "4", "5")
BOOLEANS = ("true", "false")
LIMITS = {
    "readIOPS": "read_operations",
    "writeIOPS": "write_operations",
    "readBandwidth": "read_bytes",
    "writeBandwidth": "write_bytes",
}
MUTABLE = ("tier", *LIMITS)
KNOWN = ("pool", "replicas", "hyperconverged", "spread", MINIMUM, *MUTABLE, FILESYSTEM)

OPERATIONS, BYTES = (100, 10**9), (1 << 20, 1 << 43)
"""The least and the most that a volume can be bounded to, per second."""

_QUANTITY = re.compile(r"([0-9]{1,18})(|k|M|G|T|Ki|Mi|Gi|Ti)")
_FACTORS = {"": 1} | {
    name: base**power
    for base, names in ((1000, ("k", "M", "G", "T")), (1024, ("Ki", "Mi", "Gi", "Ti")))
    for power, name in enumerate(names, start=1)
}
_LABEL_KEY = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class StorageClass:
    """What a StorageClass says; "" and None: nothing, so that pool or default decide."""

    pool: str
    replica_count: int | None = None
    filesystem: str = ""
    hyperconverged: bool = False
    spread: str = ""
    min_in_sync: int | None = None
    limits: Limits = NO_LIMITS

    def to_record(self, filesystem: str) -> tuple[tuple[str, str], ...]:
        """What a repeated CreateVolume is compared with, beside pool, size and replicas."""
        limits = {key: getattr(self.limits, field) for key, field in LIMITS.items()}
        said = {
            "filesystem": filesystem,
            "hyperconverged": "true" if self.hyperconverged else "",
            "spread": self.spread,
            MINIMUM: str(self.min_in_sync or ""),
            "tier": self.limits.tier,
            **{key: str(value) if value else "" for key, value in limits.items()},
        }
        return tuple(sorted((key, value) for key, value in said.items() if value))


def parse_storage_class(
    parameters: Mapping[str, str], mutable: Mapping[str, str], *, needs_pool: bool = True
) -> StorageClass:
    """`mutable` takes precedence, as the specification has it."""
    _refuse_unknown("parameter", {k: v for k, v in parameters.items() if not _is_kubernetes(k)}, KNOWN)
    pool = parameters.get("pool", "")
    if needs_pool and not pool:
        raise InvalidRequest("parameter 'pool': missing; it names the pool that the volume is made from")
    replicas = _choose(parameters, "replicas", REPLICA_COUNTS)
    minimum = _choose(parameters, MINIMUM, MINIMUMS)
    if replicas and minimum:
        check_minimum(int(minimum), int(replicas))
    filesystem = parameters.get(FILESYSTEM)
    return StorageClass(
        pool=pool,
        replica_count=int(replicas) if replicas else None,
        filesystem="" if filesystem is None else check_filesystem(filesystem, f"parameter {FILESYSTEM!r}"),
        hyperconverged=_choose(parameters, "hyperconverged", BOOLEANS) == "true",
        spread=_parse_spread(parameters),
        min_in_sync=int(minimum) if minimum else None,
        limits=change_limits(_parse_limits(parameters, NO_LIMITS), mutable),
    )


def check_minimum(minimum: int | None, count: int) -> None:
    """Of replicas in sync, for a volume of `count` replicas."""
    if minimum and minimum > count:
        raise InvalidRequest(
            f"parameter {MINIMUM!r} ({str(minimum)!r}): the volume has {count} replicas; must be at most that"
        )


def change_limits(limits: Limits, mutable: Mapping[str, str]) -> Limits:
    """Only what is named changes. An empty value takes a bound back to what the tier says."""
    _refuse_unknown("mutable parameter", mutable, MUTABLE)
    return _parse_limits(mutable, limits)


def _parse_limits(values: Mapping[str, str], limits: Limits) -> Limits:
    tier = limits.tier if "tier" not in values else _choose(values, "tier", tuple(TIERS))
    numbers = {field: _parse_bound(key, values[key], field) for key, field in LIMITS.items() if key in values}
    return replace(limits, tier=tier, **numbers)


def _parse_bound(key: str, value: str, field: str) -> int:
    if not value:
        return 0
    unit, (least, most) = ("bytes", BYTES) if field.endswith("bytes") else ("operations", OPERATIONS)
    match = _QUANTITY.fullmatch(value)
    number = int(match[1]) * _FACTORS[match[2]] if match else 0
    if not least <= number <= most:
        raise InvalidRequest(
            f"parameter {key!r} ({value!r}): must be {unit} per second, as in 500, 20k or 64Mi, from {least} "
            f"to {most}"
        )
    return number


def _parse_spread(parameters: Mapping[str, str]) -> str:
    value = parameters.get("spread")
    if value is not None and not _LABEL_KEY.fullmatch(value):
        raise InvalidRequest(
            f"parameter 'spread' ({value!r}): must be the key of a label of nodes, as in "
            f"topology.kubernetes.io/zone"
        )
    return value or ""


def _choose(values: Mapping[str, str], key: str, allowed: tuple[str, ...]) -> str:
    value = values.get(key)
    if value is not None and value not in allowed:
        raise InvalidRequest(f"parameter {key!r} ({value!r}): must be one of {', '.join(allowed)}")
    return value or ""


def _refuse_unknown(what: str, given: Mapping[str, str], known: tuple[str, ...]) -> None:
    for key, value in sorted(given.items()):
        if key not in known:
            raise InvalidRequest(f"{what} {key!r} ({value!r}): unknown; known are {', '.join(known)}")


def _is_kubernetes(key: str) -> bool:
    return key.startswith(KUBERNETES_PREFIX) and key != FILESYSTEM
