"""Records that are older than what runs, because they were restored from a backup. Pure.

What it has to keep of I1 and I4 (insync.py): an array knows better than such a record which replicas hold
every acknowledged write, and where nobody knows, nothing is ended.
"""

from collections.abc import Mapping
from dataclasses import replace

from replication.control.insync import in_sync
from replication.errors import DataLoss
from replication.model import ArrayReport, CopyMode, MemberHealth, NodeFacts, Replica, ReplicaState, Volume


def catch_up(volume: Volume, report: ArrayReport, *, asked: bool = False) -> Volume:
    """A replica that the array of the record's epoch does not have misses writes, whatever the record says.

    Only a record that was restored says so: else a replica is recorded stale before its array lets it go.
    `asked`: its agent was asked for it after the record was read, so that it comes late for no return.
    DataLoss when the array runs on nothing that the record knows to be in sync.
    """
    members = {member.replica_id for member in report.members}
    gone = {r.id for r in in_sync(volume) if r.id not in members and (asked or _is_heard(r, report))}
    left = [r for r in in_sync(volume) if r.id not in gone]
    known = any(r.id in members for r in left)
    if not left or not (known or report.record_version):
        raise DataLoss(
            f"the record of volume {volume.name} is older than its array, was the state store restored? "
            f"It does not know that {', '.join(sorted(members))} are in sync"
        )
    after = replace(volume, replicas=tuple(_lacking(r) if r.id in gone else r for r in volume.replicas))
    return replace(after, resync_source=left[0].id) if volume.resync_source in gone else after


def _is_heard(replica: Replica, report: ArrayReport) -> bool:
    """A report from before its return does not have it yet.

    Nor is one believed of an agent that has just begun and knows no word: it may come late. It is told one.
    """
    return report.record_version >= replica.as_of


def _lacking(replica: Replica) -> Replica:
    return replace(replica, state=ReplicaState.STALE, copy=CopyMode.FULL)


def find_claim(array: ArrayReport, node: str, facts: Mapping[str, NodeFacts]) -> str:
    """Why an array on `node`, of a volume that no record knows, may be of one that was not deleted; or "".

    `facts` of all nodes that answered. A volume is deleted when its replicas are. What the consumer's own
    node has beside others proves nothing: a node that was removed as lost keeps it.
    """
    holders = {
        found.replica_id: holder
        for holder, each in facts.items()
        for found in each.replicas
        if found.volume_id == array.volume_id and found.epoch == array.epoch
    }
    members = [m.replica_id for m in array.members if m.health is not MemberHealth.DROPPED]
    remote = [member for member in members if holders.get(member) != node]
    proof = [member for member in remote or members if member in holders]
    return ", ".join(f"{member} on node {holders[member]}" for member in proof)


def find_newer(volume: Volume, facts: Mapping[str, NodeFacts]) -> str:
    """Replicas, also those that the record does not know, whose headers have a later epoch; or ""."""
    found = (
        f"{each.replica_id} on {node}: its header has epoch {each.epoch}"
        for node, said in sorted(facts.items())
        for each in said.replicas
        if each.volume_id == volume.id and each.epoch > volume.epoch
    )
    return "; ".join(found)


def find_outgrown(volumes: Mapping[str, Volume], facts: Mapping[str, NodeFacts]) -> frozenset[str]:
    """Ids of all those of which `find_newer` would find something."""
    epochs = {volume.id: volume.epoch for volume in volumes.values()}
    replicas = (each for said in facts.values() for each in said.replicas)
    return frozenset(r.volume_id for r in replicas if r.epoch > epochs.get(r.volume_id, r.epoch))
