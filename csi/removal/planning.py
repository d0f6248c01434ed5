"""What is to be done next until nothing of Trilith is left in a cluster, as a function of what there is.

Volumes go first, by their claims, so that Kubernetes deletes each as always; then pools, whose disks the
operator gives back, and the taints of nodes that were given up; then, when that was asked for, all that was
ever recorded. Every step can be repeated.
"""

from dataclasses import dataclass

SHOWN = 10
HOW = (
    "delete them first, or set uninstall.removeEverything=true, with which all their data is lost; "
    "helm calls the release uninstalling by now: `helm rollback` to its newest revision, then upgrade it"
)


@dataclass(frozen=True, slots=True)
class Persistent:
    """A PersistentVolume of our driver."""

    name: str
    volume_id: str
    claim: str  # NAMESPACE/NAME of the claim that there is; empty for none
    retained: bool  # Kubernetes would keep the volume when its claim is gone
    going: bool  # its claim is being deleted


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is."""

    volumes: tuple[tuple[str, str], ...]  # id and name of each record
    persistent: tuple[Persistent, ...]
    pools: tuple[tuple[str, bool], ...]  # NAMESPACE/NAME of each StoragePool, and whether it is being deleted
    pool_records: tuple[str, ...]
    guards: tuple[str, ...] = ()  # budgets of the pods that drains wait for; the operator takes both away
    given_up: tuple[str, ...] = ()  # nodes with taints of ours


@dataclass(frozen=True, slots=True)
class LetGo:
    """Have Kubernetes delete the volume with its claim."""

    persistent: str


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """Its pod goes first: Kubernetes sees to that."""

    claim: str  # NAMESPACE/NAME


@dataclass(frozen=True, slots=True)
class DeletePool:
    """The operator gives its disks back before it lets it go."""

    pool: str  # NAMESPACE/NAME


@dataclass(frozen=True, slots=True)
class Untaint:
    """Nobody would welcome it: whoever led may do so meanwhile, and without volumes gives no other up."""

    node: str


Step = LetGo | DeleteClaim | DeletePool | Untaint


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that can be taken now, and what is waited for besides. Neither: it is done."""

    steps: tuple[Step, ...] = ()
    waits: tuple[str, ...] = ()
    refusal: str = ""


def make_plan(scene: Scene, *, everything: bool) -> Plan:
    if not scene.volumes and not scene.persistent:
        return _remove_pools(scene)
    if not everything:
        return Plan(refusal=f"{_name_volumes(scene)}; {HOW}")
    return _remove_volumes(scene)


def _remove_volumes(scene: Scene) -> Plan:
    steps: list[Step] = [LetGo(each.name) for each in scene.persistent if each.retained]
    steps += [DeleteClaim(each.claim) for each in scene.persistent if each.claim and not each.going]
    waits = [_wait_for_volume(scene, *volume) for volume in scene.volumes]
    waits += [f"persistent volume {each.name} is being deleted" for each in _list_others(scene)]
    return Plan(tuple(steps), tuple(waits))


def _list_others(scene: Scene) -> list[Persistent]:
    """Persistent volumes whose record has gone."""
    known = {volume_id for volume_id, _ in scene.volumes}
    return [each for each in scene.persistent if each.volume_id not in known]


def _wait_for_volume(scene: Scene, volume_id: str, name: str) -> str:
    found = next((each for each in scene.persistent if each.volume_id == volume_id), None)
    if found is None:
        return f"volume {name} is not Kubernetes' own: `trilith volume delete {name}`"
    if found.claim:
        return f"volume {name}: claim {found.claim} is there as long as a pod uses it"
    return f"volume {name} is being deleted"


def _remove_pools(scene: Scene) -> Plan:
    steps: list[Step] = [DeletePool(name) for name, going in scene.pools if not going]
    steps += [Untaint(node) for node in scene.given_up]
    waits = [f"pool {name} gives its disks back" for name, _ in scene.pools]
    waits += [f"pool {name} is still recorded" for name in scene.pool_records if not scene.pools]
    waits += [f"{name} is still there" for name in scene.guards if not scene.pools]
    return Plan(tuple(steps), tuple(waits))


def _name_volumes(scene: Scene) -> str:
    names = [name for _, name in scene.volumes] + [each.name for each in _list_others(scene)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are volumes: {', '.join(names[:SHOWN])}{more}"
