"""Which nodes are given up, and what is done then, as a function of what is seen: pure.

Two things must be so before pods are taken from a node: nobody hears its machine, neither we nor the peers
that have heard it before; and its kubelet's Lease has run out, unless the installation lets the peers' word
stand alone. Then, in this order, each step seen to be done before the next:

    mark      a taint on the node, the record of what we are about to do: whoever leads next goes on with it
    fence     the volume's epoch ends, so that nothing the machine still sends can reach a replica
    free      its pods are deleted for good, and the node's status no longer calls the volume in use; the
              attach-detach controller then detaches it within a moment, and the pod's successor attaches it

A volume that is fenced is lost to its old pods, whatever becomes of the node: they are freed of it even when
it is back. Nothing new is begun while more than a third of all nodes are silent: then it is we who are apart.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

WITNESSES = 2  # peers whose word is needed, where there are as many


class Confirm(StrEnum):
    """Whose word ends a node's hold on its volumes."""

    LEASE = "lease"  # the peers', and a Lease of the kubelet that has run out
    PEERS = "peers"  # the peers' alone: quicker, and a machine that is only cut off from them loses its pods


@dataclass(frozen=True, slots=True)
class Policy:
    """What an installation says."""

    enabled: bool = True
    confirm: Confirm = Confirm.LEASE
    silence_seconds: float = 5.0  # that nobody has heard the machine
    unrenewed_seconds: float = 15.0  # that we have watched its Lease; kubelets renew it every 10 s
    pace_seconds: float = 10.0  # between two nodes that are given up


CAREFUL = Policy()


def parse_policy(word: str) -> Policy:
    """`lease`, `peers` or `off`."""
    return Policy(enabled=False) if word == "off" else Policy(confirm=Confirm(word))


@dataclass(frozen=True, slots=True)
class Sighting:
    """One machine, as the newest round of questions found it."""

    node: str
    answers_us: bool  # its agent
    heard_by: frozenset[str] = frozenset()  # peers that it answers
    missed_by: frozenset[str] = frozenset()  # peers that have heard it before, and do not now
    silent_seconds: float = 0.0  # that neither we nor a peer has heard it

    @property
    def silent(self) -> bool:
        return not self.answers_us and not self.heard_by


@dataclass(frozen=True, slots=True)
class Kubelet:
    """What Kubernetes knows of a node."""

    ready: bool  # its condition
    lease_over_seconds: float | None  # since its Lease ran out, below 0 while it holds; None: there is none
    unrenewed_seconds: float = 0.0  # that we have watched it without a renewal
    renewed: bool = False  # while we watched it
    lasts_seconds: float = math.inf  # without a renewal


@dataclass(frozen=True, slots=True)
class Pod:
    """One that uses a volume of ours."""

    namespace: str
    name: str
    uid: str
    claims: frozenset[str]  # names of all claims that it uses


@dataclass(frozen=True, slots=True)
class VolumeThere:
    """A volume of ours that Kubernetes has on a node: attached, being attached, or waited for by a pod."""

    id: str
    claim: tuple[str, str]  # namespace, name
    held: bool  # the record says that it is this node's still
    in_use: bool = False  # the node's status says so
    attached: bool = True  # else a pod there waits for it


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node that is silent, or that we have marked."""

    sighting: Sighting
    kubelet: Kubelet
    marked: bool = False
    out_of_service: bool = False  # tainted so, by whomever
    foreign: bool = False  # other drivers' volumes are attached or used there, or nobody has looked
    leftovers: bool = True  # its agent has arrays that no record gives it, or does not say
    volumes: tuple[VolumeThere, ...] = ()
    pods: tuple[Pod, ...] = ()  # that use any of `volumes`

    @property
    def name(self) -> str:
        return self.sighting.node


@dataclass(frozen=True, slots=True)
class Mark:
    """Keep new pods away, and put down that the node is given up."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Fence:
    """End the volume's attachment there by its epoch."""

    node: str
    volume_id: str


@dataclass(frozen=True, slots=True)
class Free:
    """Let Kubernetes know that fenced volumes are used there no more."""

    node: str
    volume_ids: tuple[str, ...]  # that its status still calls in use
    pods: tuple[Pod, ...]
    force: bool  # its kubelet is gone: nobody waits for it


@dataclass(frozen=True, slots=True)
class Retire:
    """Taint it out of service: whatever else ran there is replaced too."""

    node: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """It is back and clean: take our taints away."""

    node: str


Step = Mark | Fence | Free | Retire | Welcome


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now; `held` says why nothing new is begun, if so."""

    steps: tuple[Step, ...] = ()
    held: str = ""
    waiting: tuple[str, ...] = ()  # nodes that may be dead for good, and are kept waiting by it


def choose_steps(views: Iterable[NodeView], total: int, policy: Policy, since_last_mark: float) -> Plan:
    """`total` is how many nodes there are; those without a view are well. Seconds since a node was marked."""
    known = tuple(views)
    silent = [view.name for view in known if view.sighting.silent]
    held = _why_held(silent, total, policy)
    new = [] if held else _choose_marks(known, total, policy, since_last_mark)
    kept = [step for view in known if view.marked for step in _go_on(view, total, policy, held=bool(held))]
    wanted = [view for view in known if view.volumes and view.sighting.silent and not view.marked]
    waiting = tuple(view.name for view in wanted if held and _seems_dead(view, policy))
    return Plan((*new, *kept), held if wanted else "", waiting)


def is_gone(view: NodeView, total: int, policy: Policy) -> bool:
    """Whether its word counts no more."""
    return _seems_dead(view, policy) and _is_missed(view.sighting, total)


def _seems_dead(view: NodeView, policy: Policy) -> bool:
    """Nobody hears it, for long enough, and its Lease is over where that is asked for."""
    confirmed = policy.confirm is Confirm.PEERS or _is_lease_over(view.kubelet, policy)
    return confirmed and view.sighting.silent and view.sighting.silent_seconds >= policy.silence_seconds


def _why_held(silent: list[str], total: int, policy: Policy) -> str:
    if not policy.enabled:
        return "fail-over is switched off"
    if len(silent) * 3 > total:
        return (
            f"{len(silent)} of {total} nodes are silent at once: {', '.join(sorted(silent))}. "
            "With more than a third it may be the controllers that are cut off. Bring some back, or remove "
            "those that are gone for good: kubectl trilith node remove NODE --lost"
        )
    return ""


def _choose_marks(
    views: tuple[NodeView, ...], total: int, policy: Policy, since_last_mark: float
) -> list[Mark]:
    """One at a time."""
    gone = [view for view in views if not view.marked and view.volumes and is_gone(view, total, policy)]
    if not gone or since_last_mark < policy.pace_seconds:
        return []
    first = max(gone, key=lambda view: (view.sighting.silent_seconds, view.name))
    return [Mark(first.name, _describe(first))]


def _go_on(view: NodeView, total: int, policy: Policy, *, held: bool) -> list[Step]:
    if is_gone(view, total, policy):
        return _give_up(view, policy, held=held)
    if not _is_kubelet_well(view.kubelet, policy):
        return []  # it may yet be either
    stranded = tuple(volume for volume in _find_stranded(view) if volume.attached)
    if stranded:
        return [_free(view, stranded, force=False)]
    back = view.sighting.answers_us and not view.leftovers
    return [Welcome(view.name)] if back else []


def _give_up(view: NodeView, policy: Policy, *, held: bool) -> list[Step]:
    stranded = tuple(volume for volume in view.volumes if not (volume.held and volume.attached))
    steps: list[Step] = [_free(view, stranded, force=True)] if stranded else []
    if not held:
        steps += [Fence(view.name, volume.id) for volume in view.volumes if volume.held]
        steps += [Retire(view.name)] if _may_retire(view, policy) else []
    return steps


def _may_retire(view: NodeView, policy: Policy) -> bool:
    """The taint hits every pod and every driver, and works on a node that is not ready only."""
    fenced = not any(volume.held for volume in view.volumes)
    lost = _is_lease_over(view.kubelet, policy) and not view.kubelet.ready
    return lost and fenced and not view.foreign and not view.out_of_service


def _find_stranded(view: NodeView) -> tuple[VolumeThere, ...]:
    """Volumes that Kubernetes has there, and the record has not."""
    return tuple(volume for volume in view.volumes if not volume.held)


def _free(view: NodeView, stranded: tuple[VolumeThere, ...], *, force: bool) -> Free:
    """A pod that has another volume there that is not fenced is not replaced yet: it could not start.

    Of a node that is back it is all the same: its kubelet takes that one off, and Kubernetes detaches it.
    """
    freed = {volume.claim for volume in stranded}
    bound = {volume.claim for volume in view.volumes if force and volume.held and volume.attached}
    pods = tuple(pod for pod in view.pods if _uses(pod, freed) and not _uses(pod, bound))
    in_use = tuple(volume.id for volume in stranded if volume.in_use and not volume.held) if force else ()
    return Free(view.name, in_use, pods, force)


def _uses(pod: Pod, claims: set[tuple[str, str]]) -> bool:
    return any((pod.namespace, claim) in claims for claim in pod.claims)


def _is_missed(sighting: Sighting, total: int) -> bool:
    """By enough peers who would know."""
    return len(sighting.missed_by) >= max(1, min(WITNESSES, total - 1))


def _is_lease_over(kubelet: Kubelet, policy: Policy) -> bool:
    """By the clocks and some of our own watching, since clocks can be apart.

    Or by our own watching alone: of a node whose clock was ahead when it died, the Lease seems to hold on.
    """
    if kubelet.lease_over_seconds is None:
        return not kubelet.ready
    seen = kubelet.unrenewed_seconds >= policy.unrenewed_seconds
    return (kubelet.lease_over_seconds > 0 and seen) or _has_watched_it_end(kubelet)


def _has_watched_it_end(kubelet: Kubelet) -> bool:
    return kubelet.unrenewed_seconds >= kubelet.lasts_seconds


def _is_kubelet_well(kubelet: Kubelet, policy: Policy) -> bool:
    """By the clocks, or by a renewal that we have seen: of a node whose clock is behind, none ever holds."""
    by_clocks = kubelet.lease_over_seconds is not None and kubelet.lease_over_seconds <= 0
    holds = by_clocks and not _has_watched_it_end(kubelet)
    seen = kubelet.renewed and kubelet.unrenewed_seconds < policy.unrenewed_seconds
    return kubelet.ready and (holds or seen)


def _describe(view: NodeView) -> str:
    seen, lease = view.sighting, _describe_lease(view.kubelet)
    missed = ", ".join(sorted(seen.missed_by))
    return f"neither we nor {missed} have heard it for {seen.silent_seconds:.0f} s{lease}"


def _describe_lease(kubelet: Kubelet) -> str:
    over = kubelet.lease_over_seconds
    if over is not None and over > 0:
        return f", its kubelet's Lease ran out {over:.0f} s ago"
    if _has_watched_it_end(kubelet):
        return f", its kubelet's Lease has not been renewed for {kubelet.unrenewed_seconds:.0f} s"
    return ""
