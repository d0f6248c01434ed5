"""What the claims of pods are bound to."""

from dataclasses import dataclass

from csi.failover.deciding import Pod
from csi.failover.objects import CLAIMS, VOLUMES, find_handle, is_harmless_persistent
from replication.errors import NotFound
from replication.kubernetes.client import Client, Refused


@dataclass(frozen=True, slots=True)
class Bound:
    """A PersistentVolume."""

    handle: str  # of ours, else ""
    harmless: bool  # nobody elsewhere uses it unfenced


class Bindings:
    """Each pod's claims are looked up once: neither they nor their volumes change while it is there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], Bound] = {}  # by the pod's uid and the claim's name

    def forget(self) -> None:
        self._known.clear()

    def find(self, pod: Pod, claim: str) -> Bound | None:
        """None: it is bound to nothing yet, gone, or refused, which must not hold up what is known."""
        key = (pod.uid, claim)
        if key not in self._known:
            found = self._look_up(pod.namespace, claim)
            if found is None:
                return None
            self._known[key] = found
        return self._known[key]

    def _look_up(self, namespace: str, claim: str) -> Bound | None:
        try:
            name = self._client.get(CLAIMS.format(namespace=namespace, name=claim))["spec"].get("volumeName")
            spec = self._client.get(f"{VOLUMES}/{name}")["spec"] if name else None
        except (NotFound, Refused):
            return None
        return Bound(find_handle(spec), is_harmless_persistent(spec)) if spec else None
