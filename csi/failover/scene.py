"""The nodes that matter, put together from sightings, records, and what Kubernetes says."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from urllib.parse import quote

from csi.failover.bindings import Bindings
from csi.failover.deciding import Kubelet, NodeView, Pod, Sighting, VolumeThere
from csi.failover.objects import (
    ATTACHMENTS,
    LEASES,
    NODES,
    OVER,
    PODS,
    VOLUMES,
    Attached,
    KubernetesNode,
    Resident,
    parse_attachment,
    parse_lease,
    parse_node,
    parse_resident,
)
from csi.failover.strangers import has_strangers
from replication.clock import Clock
from replication.control.control import Control
from replication.errors import NotFound, TrilithError
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched
from replication.model import Volume


@dataclass(frozen=True, slots=True)
class PersistentVolume:
    """Of ours."""

    handle: str
    claim: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Renewal:
    """Of a kubelet's Lease, as it was read last."""

    text: str
    since: float
    seen: bool = False  # it came while we watched


class Scene:
    """Nodes and attachments are watched; the rest is read, of nodes that are silent or marked only."""

    def __init__(self, client: Client, control: Control, clock: Clock) -> None:
        self._client = client
        self._control = control
        self._clock = clock
        self._nodes = Watched(client, NODES, parse_node, clock)
        self._attachments = Watched(client, ATTACHMENTS, parse_attachment, clock)
        self._leases: dict[str, Renewal] = {}
        self._volumes: dict[str, PersistentVolume | None] = {}  # by name, while there are suspects
        self._bindings = Bindings(client)

    def close(self) -> None:
        self._nodes.close()
        self._attachments.close()

    def view(self, sightings: Mapping[str, Sighting]) -> tuple[tuple[NodeView, ...], int]:
        """Those that are silent or marked, and of how many. Unavailable when Kubernetes does not answer.

        Kubernetes waits for nothing on a node that has no Node any more; if it is silent it does not count.
        """
        nodes = {entry.name: entry.get() for entry in self._nodes.list()}
        total = sum(name in nodes or not seen.silent for name, seen in sightings.items())
        suspects = [
            (nodes[name], seen)
            for name, seen in sorted(sightings.items())
            if name in nodes and (seen.silent or nodes[name].marked)
        ]
        self._forget_leases({node.name for node, _ in suspects})
        if not suspects:
            self._volumes.clear()
            self._bindings.forget()
            return (), total
        attached = tuple(entry.get() for entry in self._attachments.list())
        records = {volume.id: volume for volume in self._control.volumes.list()}
        views = tuple(self._view(node, seen, attached, records) for node, seen in suspects)
        return views, total

    def _view(
        self,
        node: KubernetesNode,
        seen: Sighting,
        attached: Sequence[Attached],
        records: Mapping[str, Volume],
    ) -> NodeView:
        there = [each for each in attached if each.node == node.name]
        volumes = list(self._find_volumes(node, there, records))
        residents = self._list_residents(node.name) if volumes or _is_given_up(node) else ()
        if _is_given_up(node):
            volumes += self._find_unattached(node, residents, {volume.claim for volume in volumes}, records)
        claims = {volume.claim for volume in volumes}
        return NodeView(
            sighting=seen,
            kubelet=self._ask_kubelet(node),
            marked=node.marked,
            out_of_service=node.out_of_service,
            foreign=not _may_be_retired(node, there) or has_strangers(residents, claims, self._bindings),
            leftovers=not seen.answers_us or self._has_leftovers(node.name, records),
            volumes=tuple(volumes),
            pods=tuple(each.pod for each in residents if _uses_any(each.pod, claims)),
        )

    def _find_volumes(
        self, node: KubernetesNode, there: Sequence[Attached], records: Mapping[str, Volume]
    ) -> Iterator[VolumeThere]:
        """The record of what is still being attached may name nobody: that says nothing of a live node."""
        for each in there:
            found = self._find_volume(each.volume) if each.ours else None
            if found is not None:
                held = self._is_held(found.handle, node.name, records.get(found.handle))
                in_use = found.handle in node.in_use
                yield VolumeThere(found.handle, found.claim, held, in_use, each.done)

    def _find_unattached(
        self,
        node: KubernetesNode,
        residents: Sequence[Resident],
        known: Set[tuple[str, str]],
        records: Mapping[str, Volume],
    ) -> Iterator[VolumeThere]:
        """Volumes that pods wait for there, and will for ever: nobody replaces a StatefulSet's.

        They have never been there, or Kubernetes has detached them since, as it does after six minutes.
        """
        pods = {(each.pod.namespace, claim): each.pod for each in residents for claim in each.pod.claims}
        for (namespace, claim), pod in sorted(pods.items()):
            bound = self._bindings.find(pod, claim) if (namespace, claim) not in known else None
            if bound is not None and bound.handle:
                held = self._is_held(bound.handle, node.name, records.get(bound.handle))
                in_use = bound.handle in node.in_use
                yield VolumeThere(bound.handle, (namespace, claim), held, in_use, attached=held)

    def _is_held(self, volume_id: str, node: str, listed: Volume | None) -> bool:
        """That it is not is read anew, as pods are freed by it: lists of records may be behind."""
        return _holds(node, listed) or _holds(node, self._find_record(volume_id))

    def _find_record(self, volume_id: str) -> Volume | None:
        try:
            return self._control.volumes.get(volume_id)
        except NotFound:
            return None

    def _find_volume(self, name: str) -> PersistentVolume | None:
        """Neither its handle nor its claim changes while it is attached."""
        if name not in self._volumes:
            self._volumes[name] = self._read_volume(name)
        return self._volumes[name]

    def _read_volume(self, name: str) -> PersistentVolume | None:
        try:
            spec = self._client.get(f"{VOLUMES}/{quote(name, safe='')}")["spec"]
        except NotFound:
            return None
        claim = spec.get("claimRef") or {}
        return PersistentVolume(
            spec["csi"]["volumeHandle"], (claim.get("namespace", ""), claim.get("name", ""))
        )

    def _list_residents(self, node: str) -> tuple[Resident, ...]:
        found = self._client.get(PODS, fieldSelector=f"spec.nodeName={node}")["items"]
        return tuple(parse_resident(each) for each in found if each["status"].get("phase") not in OVER)

    def _ask_kubelet(self, node: KubernetesNode) -> Kubelet:
        try:
            lease = parse_lease(self._client.get(f"{LEASES}/{node.name}"))
        except NotFound:
            lease = None
        if lease is None:
            return Kubelet(node.ready, None)
        now, known = self._clock.now(), self._leases.get(node.name)
        if known is None or known.text != lease.renewed:
            known = Renewal(lease.renewed, now, seen=known is not None)
        self._leases[node.name] = known
        over, unrenewed = self._clock.wall() - lease.ends, now - known.since
        return Kubelet(node.ready, over, unrenewed, known.seen, lease.seconds)

    def _forget_leases(self, suspects: set[str]) -> None:
        """Of a node that is well we do not see the renewals."""
        self._leases = {name: seen for name, seen in self._leases.items() if name in suspects}

    def _has_leftovers(self, node: str, records: Mapping[str, Volume]) -> bool:
        """Whether its agent has arrays of attachments that are over."""
        try:
            arrays = self._control.nodes.facts(node).arrays
        except TrilithError:
            return True
        return any(not _is_current(node, array.epoch, records.get(array.volume_id)) for array in arrays)


def _is_given_up(node: KubernetesNode) -> bool:
    """By us, or by Kubernetes: else what its pods wait for may yet come."""
    return node.marked or not node.ready


def _may_be_retired(node: KubernetesNode, there: Sequence[Attached]) -> bool:
    """Else nobody has to ask what its pods use."""
    due = node.marked and not node.ready and not node.out_of_service
    return due and all(each.ours for each in there)


def _uses_any(pod: Pod, claims: set[tuple[str, str]]) -> bool:
    return any((pod.namespace, claim) in claims for claim in pod.claims)


def _holds(node: str, record: Volume | None) -> bool:
    return record is not None and record.consumer == node and not record.upkeep


def _is_current(node: str, epoch: int, record: Volume | None) -> bool:
    return record is not None and (record.consumer, record.epoch) == (node, epoch)
