"""Whether pods of a node use volumes that nobody has fenced: other drivers', attached or not.

A volume of a driver with `attachRequired: false`, and one that a pod names itself, as NFS, has no
VolumeAttachment. What cannot be looked up counts as another's.
"""

from collections.abc import Iterable, Set

from csi.failover.bindings import Bindings
from csi.failover.deciding import Pod
from csi.failover.objects import Resident

Claim = tuple[str, str]  # namespace, name


def has_strangers(residents: Iterable[Resident], ours: Set[Claim], bindings: Bindings) -> bool:
    """Nobody looks further than the first. `ours` need not be looked up."""
    return any(
        resident.others
        or any(not _is_harmless(resident.pod, claim, bindings) for claim in _list_rest(resident.pod, ours))
        for resident in residents
    )


def _list_rest(pod: Pod, ours: Set[Claim]) -> list[str]:
    return sorted(claim for claim in pod.claims if (pod.namespace, claim) not in ours)


def _is_harmless(pod: Pod, claim: str, bindings: Bindings) -> bool:
    bound = bindings.find(pod, claim)
    return bound is not None and bound.harmless
