"""Whether pods of a node use volumes that nobody has fenced: other drivers', attached or not.

A volume of a driver with `attachRequired: false`, and one that a pod names itself, as NFS, has no
VolumeAttachment. What cannot be looked up counts as another's.
"""

from collections.abc import Iterable, Set

from csi.failover.objects import CLAIMS, VOLUMES, Resident, is_harmless_persistent
from replication.errors import NotFound
from replication.kubernetes.client import Client

Claim = tuple[str, str]  # namespace, name


class Strangers:
    """Each pod's claims are looked up once: neither they nor their volumes change while it is there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, bool] = {}  # by uid of the pod

    def forget(self) -> None:
        self._known.clear()

    def are_among(self, residents: Iterable[Resident], ours: Set[Claim]) -> bool:
        """No further than the first. `ours` need not be looked up."""
        return any(self._is_one(each, ours) for each in residents)

    def _is_one(self, resident: Resident, ours: Set[Claim]) -> bool:
        pod = resident.pod
        if pod.uid not in self._known:
            claims = {(pod.namespace, claim) for claim in pod.claims} - ours
            harmless = not resident.others and all(self._is_harmless(*each) for each in sorted(claims))
            self._known[pod.uid] = not harmless
        return self._known[pod.uid]

    def _is_harmless(self, namespace: str, claim: str) -> bool:
        try:
            bound = self._client.get(CLAIMS.format(namespace=namespace, name=claim))["spec"].get("volumeName")
            return bool(bound) and is_harmless_persistent(self._client.get(f"{VOLUMES}/{bound}")["spec"])
        except NotFound:
            return False
