"""StoragePools that are about to be deleted. What they may be is in their schema and in a policy."""

from csi.admission.pods import ListVolumes
from csi.admission.review import ADMITTED, Review, Verdict

MOST_NAMES = 10


def review_deletion(review: Review, list_volumes: ListVolumes) -> Verdict:
    """One with volumes in it stays. Its finalizer says so too, but then it is deleted later, unasked.

    Where all are deleted in one request, as with their namespace, that names none.
    """
    name = review.old["metadata"]["name"]
    inside = sorted(volume.name for volume in list_volumes() if volume.pool == name)
    if not inside:
        return ADMITTED
    more = f" and {len(inside) - MOST_NAMES} more" if len(inside) > MOST_NAMES else ""
    return Verdict(
        f"pool {name} holds volumes: {', '.join(inside[:MOST_NAMES])}{more}; delete their claims first"
    )
