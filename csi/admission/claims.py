"""Claims, before they are made: refused at once instead of waiting for a volume that they will not get."""

from csi.admission.known import FindClass
from csi.admission.review import ADMITTED, Review, Verdict
from csi.claims import Policy, judge, parse_claim
from replication.errors import InvalidRequest
from replication.kubernetes.access import Json

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"


def review_claim(review: Review, policy: Policy, find_class: FindClass) -> Verdict:
    """A class that there is not yet passes: CreateVolume asks the same again."""
    name = class_of(review.new)
    known = find_class(name) if name else None
    if known is None or not known.ours:
        return ADMITTED
    what = f"claim {review.namespace}/{review.name}" if review.name else f"claim in {review.namespace}"
    try:
        judge(policy, parse_claim(review.new), what)
    except InvalidRequest as refusal:
        return Verdict(str(refusal))
    return ADMITTED


def class_of(claim: Json) -> str:
    """The name of its StorageClass, "" without one; as Kubernetes reads it, the annotation first."""
    annotations = claim.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(BETA_CLASS) or claim["spec"].get("storageClassName") or "")
