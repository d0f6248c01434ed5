"""The values that control plane, contract and agent share: frozen, parsed once, without behaviour.

Sizes are bytes, times are seconds. Identifiers are safe in every kernel name: a volume's is `v` and 16
hexadecimal digits, a replica's is `r` and a number that its volume never uses twice.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from replication.tuning import Tuning

MIB, GIB = 1 << 20, 1 << 30


class ReplicaState(StrEnum):
    """What the record says of a replica."""

    IN_SYNC = "in_sync"
    STALE = "stale"
    REBUILDING = "rebuilding"


class CopyMode(StrEnum):
    """How a replica that is not in sync has to be brought back."""

    BITMAP = "bitmap"  # the union of all bitmaps covers everything it can have missed
    UNLESS_BOOTED = "bitmap_unless_booted"  # its disk may have forgotten more, if its node lost power since
    FULL = "full"  # it may lack anything


class Phase(StrEnum):
    """What is being done with the volume as a whole; an intent, recorded before the deed."""

    CREATING = "creating"
    READY = "ready"
    EXPANDING = "expanding"
    DELETING = "deleting"


class Attachment(StrEnum):
    """What is being done with the volume's consumer; an intent, recorded before the deed."""

    DETACHED = "detached"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"


@dataclass(frozen=True, slots=True)
class Replica:
    """One copy of a volume, on one logical volume of one node."""

    id: str
    node: str
    volume_group: str
    state: ReplicaState
    copy: CopyMode = CopyMode.FULL  # how to bring it back; meaningless while in sync
    boot_id: str = ""  # its node's boot when it was made ready for the record's epoch
    volatile_cache: bool = False  # its disk may forget what was not flushed when power goes
    since: float = 0.0  # wall clock of the last change of state
    as_of: int = 0  # version of the record in which its state changed last
    leaving: bool = False  # to be replaced, though nothing is wrong with it: its place is to be emptied
    marked: int = 0  # version of the record that its header has at least: what is older is an old copy
    other_groups: tuple[str, ...] = ()  # where it lies besides: on no single disk
    striped: bool = False  # over all of these; else it goes on on the next one where one is full

    @property
    def groups(self) -> tuple[str, ...]:
        return self.volume_group, *self.other_groups


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is done to a volume in a second: a tier, and numbers instead of its own. 0: not set."""

    tier: str = ""
    read_operations: int = 0
    write_operations: int = 0
    read_bytes: int = 0
    write_bytes: int = 0


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Volume:
    """The record of a volume: changed by compare-and-swap only."""

    id: str
    name: str
    pool: str
    size_bytes: int
    bitmap_chunk_bytes: int  # bytes of data per bit of the members' bitmaps, chosen when the volume was made
    replica_count: int
    phase: Phase
    replicas: tuple[Replica, ...]
    epoch: int = 0
    attachment: Attachment = Attachment.DETACHED
    consumer: str | None = None  # the node whose array may write, or may still think so
    resync_source: str | None = None  # replica that others are made equal to after an unclean stop
    target_size_bytes: int = 0  # while expanding
    grown_from: int = 0  # all behind it may be marked in a dead array's memory alone; 0: nothing
    next_replica: int = 0  # number of the next replica's id
    parameters: tuple[tuple[str, str], ...] = ()  # what the creator asked for, sorted: compared on a repeat
    created: float = 0.0
    limits: Limits = NO_LIMITS  # as of now: they can be changed
    readonly: bool = False  # of the attachment: its consumer may not write
    lost_since: float = 0.0  # wall clock: no replica in sync is left, nor will one come back; 0: not so
    min_in_sync: int = 1  # writes wait while fewer are
    upkeep: bool = False  # of the attachment: ours, to bring replicas back; gives way to a user's
    consumer_boot: str = ""  # the consumer's boot when its array was assembled


@dataclass(frozen=True, slots=True)
class Versioned:
    """A record as read from the store. `version` goes up by one at every swap."""

    volume: Volume
    version: int


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    name: str
    address: str  # host:port of its agent
    data_address: str  # IPv4 address that its NVMe/TCP target listens on
    labels: tuple[tuple[str, str], ...] = ()  # where it is: topology.kubernetes.io/zone and the like; sorted


@dataclass(frozen=True, slots=True)
class Pool:
    """Disks of some nodes, from which volumes are made."""

    name: str
    nodes: tuple[str, ...]
    replica_count: int
    disks: tuple[tuple[str, str], ...] = ()  # (node, device path) chosen by hand; empty: every usable disk
    striped: bool = False  # each replica is spread over all disks of its node


# Facts: what an agent reads from its kernel and its disks. Never stored as truth.


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device of a node, and whether it is ours to take."""

    path: str
    serial: str
    model: str
    size_bytes: int
    usable: bool
    why_not: str = ""
    volume_group: str = ""  # what the one on it is called, or will be once it is ours: so it is known


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """One disk of a pool: LVM's volume group on it."""

    name: str
    pool: str
    disk: str
    size_bytes: int
    free_bytes: int  # wiped: for a new replica to have at once
    reserved_bytes: int = 0  # free once the old bytes there are wiped


@dataclass(frozen=True, slots=True)
class ReplicaFacts:
    """A replica as its own node finds it: the header on its logical volume, and what stands around it."""

    volume_id: str
    replica_id: str
    volume_group: str
    size_bytes: int  # of data, by the header
    epoch: int
    record_version: int
    suspect: bool
    volatile_cache: bool
    other_groups: tuple[str, ...] = ()  # where it lies besides, in order

    @property
    def groups(self) -> tuple[str, ...]:
        return self.volume_group, *self.other_groups


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Everything that one node can say of itself."""

    node: str
    cluster: str
    boot_id: str
    kernel: str
    authentication: bool  # the kernel has NVMe in-band authentication
    disks: tuple[Disk, ...]
    volume_groups: tuple[VolumeGroup, ...]
    replicas: tuple[ReplicaFacts, ...]
    arrays: tuple["ArrayReport", ...]


class MemberHealth(StrEnum):
    """What the consumer's agent finds a member to be."""

    GOOD = "good"
    LOST = "lost"  # does not answer, or its disk errs: held, awaiting the record
    DROPPED = "dropped"  # failed in the array, after the record
    RECOVERING = "recovering"
    RECOVERED = "recovered"  # its recovery ended; equal to the others from then on


@dataclass(frozen=True, slots=True)
class MemberReport:
    """One member of an assembled array."""

    replica_id: str
    health: MemberHealth
    reason: str = ""
    bitmap_covers: bool = False  # when lost: all that it may lack is marked, even if its disk forgets
    attempt: int = 0  # the record's version that it was joined by; 0: the agent does not know


@dataclass(frozen=True, slots=True)
class ArrayReport:
    """An assembled array, whole, as it is now. The control plane compares it with the record and acts."""

    volume_id: str
    epoch: int
    record_version: int  # of the newest confirmation that the agent has acted on
    members: tuple[MemberReport, ...]
    resync_done: bool  # no resync is owed any more
    held_seconds: float = 0.0  # how long writes have been waiting for us
    recovery_total_bytes: int = 0  # to copy in the newest recovery
    recovery_done_bytes: int = 0
    recovery_bytes_per_second: int = 0  # 0 when none is under way
    device: str = ""
    sequence: int = 0  # rises with every report of this agent, also over its restarts
    tuning: Tuning | None = None  # None: this agent has not been told any
    activity: str = ""  # md's word: idle, frozen, resync, recover, check, repair
    mismatched_bytes: int = 0  # that the last check found, or the last repair made equal


@dataclass(frozen=True, slots=True)
class Target:
    """Where a remote member is reached: an NVMe/TCP subsystem made for one attachment."""

    nqn: str
    address: str
    port: int
    host_nqn: str
    host_key: str = field(default="", repr=False)
    controller_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """A replica as it is put into an array: local when `target` is None."""

    replica_id: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """A replica to be made or verified."""

    volume_id: str
    replica_id: str
    volume_group: str
    size_bytes: int
    bitmap_chunk_bytes: int
    other_groups: tuple[str, ...] = ()  # it lies on these, too: one after the other, or striped
    striped: bool = False


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who may reach an export, and with which keys. The keys are made at attach and stored nowhere."""

    host_nqn: str
    host_key: str = field(default="", repr=False)
    controller_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PrepareSpec:
    """Make a replica ready for an epoch: end what older epochs left, raise the header, export if asked."""

    volume_id: str
    replica_id: str
    epoch: int
    record_version: int
    consumer: Consumer | None  # None: nobody reaches it over the network
    marked: int = 0  # version of the record that its header has at least
    full_copy: bool = False  # all of it is about to be copied: what its disk refused before is over


@dataclass(frozen=True, slots=True)
class Prepared:
    """A replica that is ready for the epoch asked for."""

    facts: ReplicaFacts
    boot_id: str
    target: Target | None


@dataclass(frozen=True, slots=True)
class AttachSpec:
    """An array to assemble from in-sync members only. The first is the source while a resync is owed."""

    volume_id: str
    epoch: int
    record_version: int
    size_bytes: int
    bitmap_chunk_bytes: int
    replica_count: int
    members: tuple[Member, ...]
    resync: bool
    readonly: bool = False  # nobody may write to the device
    marked_from: int = 0  # all from this byte on counts as marked, whatever bitmaps say; 0: nothing more


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the record says now. Other members are to be dropped, but not if lost only after `report`."""

    volume_id: str
    epoch: int
    record_version: int
    in_sync: tuple[str, ...]
    rebuilding: tuple[str, ...]
    report: int  # `sequence` of the report that it answers
    attempts: tuple[int, ...] = ()  # for each in `rebuilding` the record's version by which it became that


@dataclass(frozen=True, slots=True)
class RejoinSpec:
    """A member to bring back into a running array."""

    volume_id: str
    epoch: int
    record_version: int
    member: Member
    copy: CopyMode
    resumable: bool = False  # a full copy: let the bitmap remember how far it is


class AccessType(StrEnum):
    """How a volume is handed to a workload."""

    MOUNT = "mount"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A volume to make usable at a path of the node that it is attached to."""

    volume_id: str
    path: str
    access: AccessType
    filesystem: str = "ext4"
    mount_flags: tuple[str, ...] = field(default=(), repr=False)  # may be sensitive
    readonly: bool = False
    mount_group: str = ""  # number of the group that everything in the file system is given to


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """A staged volume to make visible at a workload's path."""

    volume_id: str
    staging_path: str
    path: str
    access: AccessType
    readonly: bool = False
    mount_flags: tuple[str, ...] = field(default=(), repr=False)
    exclusive: bool = False  # at no other path of this node at the same time
    mount_group: str = ""


class AilmentKind(StrEnum):
    """How bad it is."""

    DEGRADED = "degraded"  # it works, with less safety or speed than it should
    INACCESSIBLE = "inaccessible"
    DATA_LOSS = "data_loss"


@dataclass(frozen=True, slots=True)
class Ailment:
    """What is wrong with a volume or with a node's storage, as long as it is."""

    kind: AilmentKind
    reason: str  # in CamelCase, for programs
    message: str  # for people: which, why, since when
