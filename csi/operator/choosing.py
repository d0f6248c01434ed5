"""Which disks of which nodes a pool gets. Pure.

The first pool that matches a disk has it, and keeps it. What a pool has, it keeps, whatever its StoragePool
says later: it never shrinks by itself.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from csi.operator.resources import Machine, StoragePool
from replication.model import Disk, NodeFacts

NVME = re.compile(r"/dev/nvme\d")
BY_ID = "/dev/disk/by-id/"


@dataclass
class Choice:
    """What one pool has and is to get."""

    disks: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by node: all of them, new ones too
    new: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of these, what it has not yet
    refused: dict[str, str] = field(default_factory=dict)  # by node: why it gives none
    rivals: set[str] = field(default_factory=set)  # pools that have disks which match this one


def choose_all(
    pools: Iterable[StoragePool], machines: Iterable[Machine], facts: Mapping[str, NodeFacts]
) -> dict[str, Choice]:
    """By pool's name, of pools whose names differ. Machines without facts give what they gave."""
    known = tuple(machines)
    taken: dict[tuple[str, str], str] = {}
    return {
        pool.name: _choose(pool, known, facts, taken) for pool in sorted(pools, key=lambda pool: pool.age)
    }


def _choose(
    pool: StoragePool,
    machines: Iterable[Machine],
    facts: Mapping[str, NodeFacts],
    taken: dict[tuple[str, str], str],
) -> Choice:
    choice = Choice()
    for machine in machines:
        if machine.name in facts:
            _choose_on(pool, machine, facts[machine.name], taken, choice)
    return choice


def _choose_on(
    pool: StoragePool,
    machine: Machine,
    facts: NodeFacts,
    taken: dict[tuple[str, str], str],
    choice: Choice,
) -> None:
    owners = {group.disk: group.pool for group in facts.volume_groups}
    has = tuple(path for path, owner in owners.items() if owner == pool.name)
    wanted = [disk for disk in facts.disks if disk.path not in has] if matches(pool, machine) else []
    found = {
        disk.path: _refuse(pool, disk, owners.get(disk.path) or taken.get((machine.name, disk.path), ""))
        for disk in wanted
    }
    new = tuple(path for path, refusal in found.items() if refusal is None)
    taken.update({(machine.name, path): pool.name for path in new})
    reasons = {path: refusal for path, refusal in found.items() if refusal is not None}
    choice.rivals |= {refusal.rival for refusal in reasons.values()} - {""}
    if new:
        choice.new[machine.name] = new
    if has or new:
        choice.disks[machine.name] = (*has, *new)
    elif matches(pool, machine):
        listed = "; ".join(f"{path}: {refusal.words}" for path, refusal in reasons.items())
        choice.refused[machine.name] = listed or "it has no disk"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a disk is not taken; `rival` is the pool that has it."""

    words: str
    rival: str = ""


def _refuse(pool: StoragePool, disk: Disk, owner: str) -> Refusal | None:
    if owner:
        rival = owner if owner != pool.name and names(pool, disk) else ""
        return Refusal(f"pool {owner} has it", rival)
    if not names(pool, disk):
        return Refusal("not among the disks that the pool wants")
    return None if disk.usable else Refusal(disk.why_not)


def matches(pool: StoragePool, machine: Machine) -> bool:
    """Whether the pool wants this node."""
    labels = dict(machine.labels)
    chosen = all(labels.get(key) == value for key, value in pool.selector)
    return chosen and (not pool.zones or machine.zone in pool.zones)


def names(pool: StoragePool, disk: Disk) -> bool:
    """Whether the pool wants this disk, if it is empty."""
    if not NVME.match(disk.path) or any(is_called(disk, path) for path in pool.exclude):
        return False
    return not pool.include or any(is_called(disk, path) for path in pool.include)


def is_called(disk: Disk, path: str) -> bool:
    """By its device, or by udev's name of model and serial number, which survives a boot."""
    if path == disk.path:
        return True
    stem = f"{BY_ID}nvme-{_as_udev(disk.model)}_{_as_udev(disk.serial)}"
    return bool(disk.serial) and re.fullmatch(rf"{re.escape(stem)}(_\d+)?", path) is not None


def _as_udev(text: str) -> str:
    """Blanks at the ends go, each run of others is one underscore."""
    return "_".join(text.split())
