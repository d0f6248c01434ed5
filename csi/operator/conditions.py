"""Conditions of Kubernetes: what is said of an object, since when, in a word and in a sentence. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from replication.kubernetes.access import Json

READY = "Ready"
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Condition:
    """`met` is None where nobody knows."""

    type: str
    met: bool | None
    reason: str  # CamelCase
    message: str

    @property
    def status(self) -> str:
        return "Unknown" if self.met is None else str(self.met)


def to_conditions(
    wanted: Iterable[Condition], before: Mapping[str, object], wall: float, generation: int | None = None
) -> list[Json]:
    """As a status has them; `before` is the status until now: what stays as it was keeps its time."""
    known = _list_known(before)
    return [_to_condition(each, known.get(each.type, {}), wall, generation) for each in wanted]


def find_condition(status: Mapping[str, object], kind: str) -> Json:
    """Empty where nothing was said yet."""
    return _list_known(status).get(kind, {})


def to_time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_known(status: Mapping[str, object]) -> dict[str, Json]:
    found = status.get("conditions")
    return {each["type"]: each for each in found} if isinstance(found, list) else {}


def _to_condition(condition: Condition, known: Json, wall: float, generation: int | None) -> Json:
    stays = known.get("status") == condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message[:LONGEST],
        "lastTransitionTime": known["lastTransitionTime"] if stays else to_time(wall),
        **({} if generation is None else {"observedGeneration": generation}),
    }
