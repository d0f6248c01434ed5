"""StorageClasses and VolumeAttributesClasses of ours: refused when no volume could ever be made of them."""

from collections.abc import Callable

from csi.admission.review import Review, Verdict
from csi.parameters import change_limits, parse_storage_class
from replication.errors import InvalidRequest
from replication.model import NO_LIMITS

HasPool = Callable[[str], bool]


def review_storage_class(review: Review, has_pool: HasPool) -> Verdict:
    """What may become right by itself, such as a pool that is made later, is a warning."""
    parameters = review.new.get("parameters") or {}
    try:
        parsed = parse_storage_class(parameters, {})
    except InvalidRequest as refusal:
        return Verdict(f"StorageClass {review.name}: {refusal}")
    warnings = []
    if not has_pool(parsed.pool):
        warnings.append(f"StorageClass {review.name}: there is no StoragePool {parsed.pool!r} yet")
    if review.new.get("volumeBindingMode", "Immediate") == "Immediate":
        warnings.append(
            f"StorageClass {review.name}: with volumeBindingMode Immediate a volume is placed before its "
            f"pod; WaitForFirstConsumer puts its first replica where the pod runs"
        )
    return Verdict(warnings=tuple(warnings))


def review_attributes_class(review: Review) -> Verdict:
    try:
        change_limits(NO_LIMITS, review.new.get("parameters") or {})
    except InvalidRequest as refusal:
        return Verdict(f"VolumeAttributesClass {review.name}: {refusal}")
    return Verdict()
