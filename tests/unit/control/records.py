"""Records and reports for tests of the pure functions."""

from replication.model import (
    GIB,
    ArrayReport,
    Attachment,
    CopyMode,
    MemberHealth,
    MemberReport,
    NodeFacts,
    Phase,
    Replica,
    ReplicaFacts,
    ReplicaState,
    Volume,
)

STATES = {"i": ReplicaState.IN_SYNC, "s": ReplicaState.STALE, "r": ReplicaState.REBUILDING}


def volume(states: str = "iii", **changes: object) -> Volume:
    """Replica number n, in state states[n], on node n of a, b, c…; attached to a in epoch 1."""
    replicas = tuple(
        Replica(f"r{n}", "abcde"[n], f"vg-{'abcde'[n]}", STATES[s], CopyMode.BITMAP, "boot-1")
        for n, s in enumerate(states)
    )
    fields: dict[str, object] = {
        "id": "v0",
        "name": "data",
        "pool": "nvme",
        "size_bytes": GIB,
        "bitmap_chunk_bytes": 1 << 16,
        "replica_count": len(states),
        "phase": Phase.READY,
        "replicas": replicas,
        "epoch": 1,
        "attachment": Attachment.ATTACHED,
        "consumer": "a",
        "next_replica": len(states),
    }
    return Volume(**(fields | changes))  # type: ignore[arg-type]


def detached(states: str = "iii", **changes: object) -> Volume:
    return volume(states, **({"attachment": Attachment.DETACHED, "consumer": None} | changes))


def states_of(record: Volume) -> str:
    return "".join(next(k for k, s in STATES.items() if s is r.state) for r in record.replicas)


def copies_of(record: Volume) -> list[CopyMode]:
    return [r.copy for r in record.replicas]


def report(
    *healths: MemberHealth, epoch: int = 1, resync_done: bool = False, covers: bool = False
) -> ArrayReport:
    members = tuple(MemberReport(f"r{n}", health, "", covers) for n, health in enumerate(healths))
    return ArrayReport("v0", epoch, 0, members, resync_done)


def header(replica: str = "r1", node: str = "b", **changes: object) -> ReplicaFacts:
    fields: dict[str, object] = {
        "volume_id": "v0",
        "replica_id": replica,
        "volume_group": f"vg-{node}",
        "size_bytes": GIB,
        "epoch": 1,
        "record_version": 1,
        "suspect": False,
        "volatile_cache": False,
    }
    return ReplicaFacts(**(fields | changes))  # type: ignore[arg-type]


def facts(node: str, *replicas: ReplicaFacts, **changes: object) -> NodeFacts:
    fields: dict[str, object] = {
        "node": node,
        "cluster": "cluster",
        "boot_id": "boot-1",
        "kernel": "",
        "authentication": True,
        "disks": (),
        "volume_groups": (),
        "replicas": replicas,
        "arrays": (),
    }
    return NodeFacts(**(fields | changes))  # type: ignore[arg-type]
