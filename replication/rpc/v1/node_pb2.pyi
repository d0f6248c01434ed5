from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Disk(_message.Message):
    __slots__ = ("path", "serial", "model", "size_bytes", "usable", "why_not", "volume_group")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    USABLE_FIELD_NUMBER: _ClassVar[int]
    WHY_NOT_FIELD_NUMBER: _ClassVar[int]
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    path: str
    serial: str
    model: str
    size_bytes: int
    usable: bool
    why_not: str
    volume_group: str
    def __init__(self, path: _Optional[str] = ..., serial: _Optional[str] = ..., model: _Optional[str] = ..., size_bytes: _Optional[int] = ..., usable: _Optional[bool] = ..., why_not: _Optional[str] = ..., volume_group: _Optional[str] = ...) -> None: ...

class VolumeGroup(_message.Message):
    __slots__ = ("name", "pool", "disk", "size_bytes", "free_bytes", "reserved_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    DISK_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pool: str
    disk: str
    size_bytes: int
    free_bytes: int
    reserved_bytes: int
    def __init__(self, name: _Optional[str] = ..., pool: _Optional[str] = ..., disk: _Optional[str] = ..., size_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ...) -> None: ...

class ReplicaFacts(_message.Message):
    __slots__ = ("volume_id", "replica_id", "volume_group", "size_bytes", "epoch", "record_version", "suspect", "volatile_cache", "other_groups")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    VOLATILE_CACHE_FIELD_NUMBER: _ClassVar[int]
    OTHER_GROUPS_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    volume_group: str
    size_bytes: int
    epoch: int
    record_version: int
    suspect: bool
    volatile_cache: bool
    other_groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., volume_group: _Optional[str] = ..., size_bytes: _Optional[int] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., suspect: _Optional[bool] = ..., volatile_cache: _Optional[bool] = ..., other_groups: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeFacts(_message.Message):
    __slots__ = ("node", "cluster", "boot_id", "kernel", "authentication", "disks", "volume_groups", "replicas", "arrays")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_FIELD_NUMBER: _ClassVar[int]
    DISKS_FIELD_NUMBER: _ClassVar[int]
    VOLUME_GROUPS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    ARRAYS_FIELD_NUMBER: _ClassVar[int]
    node: str
    cluster: str
    boot_id: str
    kernel: str
    authentication: bool
    disks: _containers.RepeatedCompositeFieldContainer[Disk]
    volume_groups: _containers.RepeatedCompositeFieldContainer[VolumeGroup]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaFacts]
    arrays: _containers.RepeatedCompositeFieldContainer[ArrayReport]
    def __init__(self, node: _Optional[str] = ..., cluster: _Optional[str] = ..., boot_id: _Optional[str] = ..., kernel: _Optional[str] = ..., authentication: _Optional[bool] = ..., disks: _Optional[_Iterable[_Union[Disk, _Mapping]]] = ..., volume_groups: _Optional[_Iterable[_Union[VolumeGroup, _Mapping]]] = ..., replicas: _Optional[_Iterable[_Union[ReplicaFacts, _Mapping]]] = ..., arrays: _Optional[_Iterable[_Union[ArrayReport, _Mapping]]] = ...) -> None: ...

class MemberReport(_message.Message):
    __slots__ = ("replica_id", "health", "reason", "bitmap_covers", "attempt")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BITMAP_COVERS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    health: str
    reason: str
    bitmap_covers: bool
    attempt: int
    def __init__(self, replica_id: _Optional[str] = ..., health: _Optional[str] = ..., reason: _Optional[str] = ..., bitmap_covers: _Optional[bool] = ..., attempt: _Optional[int] = ...) -> None: ...

class Tuning(_message.Message):
    __slots__ = ("slots", "rebuild_bandwidth", "write_latency_bound")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    REBUILD_BANDWIDTH_FIELD_NUMBER: _ClassVar[int]
    WRITE_LATENCY_BOUND_FIELD_NUMBER: _ClassVar[int]
    slots: int
    rebuild_bandwidth: int
    write_latency_bound: float
    def __init__(self, slots: _Optional[int] = ..., rebuild_bandwidth: _Optional[int] = ..., write_latency_bound: _Optional[float] = ...) -> None: ...

class ArrayReport(_message.Message):
    __slots__ = ("volume_id", "epoch", "record_version", "members", "resync_done", "held_seconds", "recovery_total_bytes", "recovery_done_bytes", "recovery_bytes_per_second", "device", "sequence", "tuning", "activity", "mismatched_bytes")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RESYNC_DONE_FIELD_NUMBER: _ClassVar[int]
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RECOVERY_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    MISMATCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    record_version: int
    members: _containers.RepeatedCompositeFieldContainer[MemberReport]
    resync_done: bool
    held_seconds: float
    recovery_total_bytes: int
    recovery_done_bytes: int
    recovery_bytes_per_second: int
    device: str
    sequence: int
    tuning: Tuning
    activity: str
    mismatched_bytes: int
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., members: _Optional[_Iterable[_Union[MemberReport, _Mapping]]] = ..., resync_done: _Optional[bool] = ..., held_seconds: _Optional[float] = ..., recovery_total_bytes: _Optional[int] = ..., recovery_done_bytes: _Optional[int] = ..., recovery_bytes_per_second: _Optional[int] = ..., device: _Optional[str] = ..., sequence: _Optional[int] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ..., activity: _Optional[str] = ..., mismatched_bytes: _Optional[int] = ...) -> None: ...

class ReplicaSpec(_message.Message):
    __slots__ = ("volume_id", "replica_id", "volume_group", "size_bytes", "bitmap_chunk_bytes", "other_groups", "striped")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BITMAP_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    OTHER_GROUPS_FIELD_NUMBER: _ClassVar[int]
    STRIPED_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    volume_group: str
    size_bytes: int
    bitmap_chunk_bytes: int
    other_groups: _containers.RepeatedScalarFieldContainer[str]
    striped: bool
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., volume_group: _Optional[str] = ..., size_bytes: _Optional[int] = ..., bitmap_chunk_bytes: _Optional[int] = ..., other_groups: _Optional[_Iterable[str]] = ..., striped: _Optional[bool] = ...) -> None: ...

class Consumer(_message.Message):
    __slots__ = ("host_nqn", "host_key", "controller_key")
    HOST_NQN_FIELD_NUMBER: _ClassVar[int]
    HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_KEY_FIELD_NUMBER: _ClassVar[int]
    host_nqn: str
    host_key: str
    controller_key: str
    def __init__(self, host_nqn: _Optional[str] = ..., host_key: _Optional[str] = ..., controller_key: _Optional[str] = ...) -> None: ...

class PrepareSpec(_message.Message):
    __slots__ = ("volume_id", "replica_id", "epoch", "record_version", "consumer", "marked", "full_copy")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    MARKED_FIELD_NUMBER: _ClassVar[int]
    FULL_COPY_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    epoch: int
    record_version: int
    consumer: Consumer
    marked: int
    full_copy: bool
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., consumer: _Optional[_Union[Consumer, _Mapping]] = ..., marked: _Optional[int] = ..., full_copy: _Optional[bool] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("nqn", "address", "port", "host_nqn", "host_key", "controller_key")
    NQN_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    HOST_NQN_FIELD_NUMBER: _ClassVar[int]
    HOST_KEY_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_KEY_FIELD_NUMBER: _ClassVar[int]
    nqn: str
    address: str
    port: int
    host_nqn: str
    host_key: str
    controller_key: str
    def __init__(self, nqn: _Optional[str] = ..., address: _Optional[str] = ..., port: _Optional[int] = ..., host_nqn: _Optional[str] = ..., host_key: _Optional[str] = ..., controller_key: _Optional[str] = ...) -> None: ...

class Prepared(_message.Message):
    __slots__ = ("facts", "boot_id", "target")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    facts: ReplicaFacts
    boot_id: str
    target: Target
    def __init__(self, facts: _Optional[_Union[ReplicaFacts, _Mapping]] = ..., boot_id: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("replica_id", "target")
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    replica_id: str
    target: Target
    def __init__(self, replica_id: _Optional[str] = ..., target: _Optional[_Union[Target, _Mapping]] = ...) -> None: ...

class AttachSpec(_message.Message):
    __slots__ = ("volume_id", "epoch", "record_version", "size_bytes", "replica_count", "members", "resync", "bitmap_chunk_bytes", "readonly", "marked_from")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REPLICA_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    BITMAP_CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    READONLY_FIELD_NUMBER: _ClassVar[int]
    MARKED_FROM_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    record_version: int
    size_bytes: int
    replica_count: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    resync: bool
    bitmap_chunk_bytes: int
    readonly: bool
    marked_from: int
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., size_bytes: _Optional[int] = ..., replica_count: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., resync: _Optional[bool] = ..., bitmap_chunk_bytes: _Optional[int] = ..., readonly: _Optional[bool] = ..., marked_from: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("tier", "read_operations", "write_operations", "read_bytes", "write_bytes")
    TIER_FIELD_NUMBER: _ClassVar[int]
    READ_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    WRITE_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    READ_BYTES_FIELD_NUMBER: _ClassVar[int]
    WRITE_BYTES_FIELD_NUMBER: _ClassVar[int]
    tier: str
    read_operations: int
    write_operations: int
    read_bytes: int
    write_bytes: int
    def __init__(self, tier: _Optional[str] = ..., read_operations: _Optional[int] = ..., write_operations: _Optional[int] = ..., read_bytes: _Optional[int] = ..., write_bytes: _Optional[int] = ...) -> None: ...

class Confirmation(_message.Message):
    __slots__ = ("volume_id", "epoch", "record_version", "in_sync", "rebuilding", "report", "attempts")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    REBUILDING_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    record_version: int
    in_sync: _containers.RepeatedScalarFieldContainer[str]
    rebuilding: _containers.RepeatedScalarFieldContainer[str]
    report: int
    attempts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., in_sync: _Optional[_Iterable[str]] = ..., rebuilding: _Optional[_Iterable[str]] = ..., report: _Optional[int] = ..., attempts: _Optional[_Iterable[int]] = ...) -> None: ...

class RejoinSpec(_message.Message):
    __slots__ = ("volume_id", "epoch", "record_version", "member", "copy", "resumable")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RECORD_VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    record_version: int
    member: Member
    copy: str
    resumable: bool
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., record_version: _Optional[int] = ..., member: _Optional[_Union[Member, _Mapping]] = ..., copy: _Optional[str] = ..., resumable: _Optional[bool] = ...) -> None: ...

class StageSpec(_message.Message):
    __slots__ = ("volume_id", "path", "access", "filesystem", "mount_flags", "readonly", "mount_group")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ACCESS_FIELD_NUMBER: _ClassVar[int]
    FILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FLAGS_FIELD_NUMBER: _ClassVar[int]
    READONLY_FIELD_NUMBER: _ClassVar[int]
    MOUNT_GROUP_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    path: str
    access: str
    filesystem: str
    mount_flags: _containers.RepeatedScalarFieldContainer[str]
    readonly: bool
    mount_group: str
    def __init__(self, volume_id: _Optional[str] = ..., path: _Optional[str] = ..., access: _Optional[str] = ..., filesystem: _Optional[str] = ..., mount_flags: _Optional[_Iterable[str]] = ..., readonly: _Optional[bool] = ..., mount_group: _Optional[str] = ...) -> None: ...

class PublishSpec(_message.Message):
    __slots__ = ("volume_id", "staging_path", "path", "access", "readonly", "mount_flags", "exclusive", "mount_group")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    STAGING_PATH_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ACCESS_FIELD_NUMBER: _ClassVar[int]
    READONLY_FIELD_NUMBER: _ClassVar[int]
    MOUNT_FLAGS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    MOUNT_GROUP_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    staging_path: str
    path: str
    access: str
    readonly: bool
    mount_flags: _containers.RepeatedScalarFieldContainer[str]
    exclusive: bool
    mount_group: str
    def __init__(self, volume_id: _Optional[str] = ..., staging_path: _Optional[str] = ..., path: _Optional[str] = ..., access: _Optional[str] = ..., readonly: _Optional[bool] = ..., mount_flags: _Optional[_Iterable[str]] = ..., exclusive: _Optional[bool] = ..., mount_group: _Optional[str] = ...) -> None: ...

class VolumeUsage(_message.Message):
    __slots__ = ("access", "total_bytes", "used_bytes", "available_bytes", "total_inodes", "used_inodes", "available_inodes")
    ACCESS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_INODES_FIELD_NUMBER: _ClassVar[int]
    USED_INODES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_INODES_FIELD_NUMBER: _ClassVar[int]
    access: str
    total_bytes: int
    used_bytes: int
    available_bytes: int
    total_inodes: int
    used_inodes: int
    available_inodes: int
    def __init__(self, access: _Optional[str] = ..., total_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., available_bytes: _Optional[int] = ..., total_inodes: _Optional[int] = ..., used_inodes: _Optional[int] = ..., available_inodes: _Optional[int] = ...) -> None: ...

class Ailment(_message.Message):
    __slots__ = ("kind", "reason", "message")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    reason: str
    message: str
    def __init__(self, kind: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("name", "address", "data_address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DATA_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    data_address: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., data_address: _Optional[str] = ...) -> None: ...

class PeerVerdict(_message.Message):
    __slots__ = ("name", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ("peers",)
    PEERS_FIELD_NUMBER: _ClassVar[int]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    def __init__(self, peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ...) -> None: ...

class ProbeResponse(_message.Message):
    __slots__ = ("verdicts",)
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[PeerVerdict]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[PeerVerdict, _Mapping]]] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("kind", "name", "volume_id", "replica_id", "epoch", "written")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    volume_id: str
    replica_id: str
    epoch: int
    written: bool
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., epoch: _Optional[int] = ..., written: _Optional[bool] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("only",)
    ONLY_FIELD_NUMBER: _ClassVar[int]
    only: str
    def __init__(self, only: _Optional[str] = ...) -> None: ...

class EnsureDiskPoolRequest(_message.Message):
    __slots__ = ("pool", "disks")
    POOL_FIELD_NUMBER: _ClassVar[int]
    DISKS_FIELD_NUMBER: _ClassVar[int]
    pool: str
    disks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pool: _Optional[str] = ..., disks: _Optional[_Iterable[str]] = ...) -> None: ...

class EnsureDiskPoolResponse(_message.Message):
    __slots__ = ("volume_groups",)
    VOLUME_GROUPS_FIELD_NUMBER: _ClassVar[int]
    volume_groups: _containers.RepeatedCompositeFieldContainer[VolumeGroup]
    def __init__(self, volume_groups: _Optional[_Iterable[_Union[VolumeGroup, _Mapping]]] = ...) -> None: ...

class RemoveDiskPoolRequest(_message.Message):
    __slots__ = ("pool",)
    POOL_FIELD_NUMBER: _ClassVar[int]
    pool: str
    def __init__(self, pool: _Optional[str] = ...) -> None: ...

class RemoveDiskPoolResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveDiskRequest(_message.Message):
    __slots__ = ("volume_group",)
    VOLUME_GROUP_FIELD_NUMBER: _ClassVar[int]
    volume_group: str
    def __init__(self, volume_group: _Optional[str] = ...) -> None: ...

class RemoveDiskResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveReplicaRequest(_message.Message):
    __slots__ = ("volume_id", "replica_id", "known_version")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    KNOWN_VERSION_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    known_version: int
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., known_version: _Optional[int] = ...) -> None: ...

class RemoveReplicaResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResizeReplicaRequest(_message.Message):
    __slots__ = ("volume_id", "replica_id", "size_bytes")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    size_bytes: int
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class ReleaseReplicaRequest(_message.Message):
    __slots__ = ("volume_id", "replica_id", "epoch")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    replica_id: str
    epoch: int
    def __init__(self, volume_id: _Optional[str] = ..., replica_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class ReleaseReplicaResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttachResponse(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: str
    def __init__(self, device: _Optional[str] = ...) -> None: ...

class DetachRequest(_message.Message):
    __slots__ = ("volume_id", "epoch")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class DetachResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AbandonRequest(_message.Message):
    __slots__ = ("volume_id", "epoch")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class AbandonResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RejoinResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetLimitsRequest(_message.Message):
    __slots__ = ("volume_id", "epoch", "limits")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    limits: Limits
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ...) -> None: ...

class SetLimitsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GrowArrayRequest(_message.Message):
    __slots__ = ("volume_id", "epoch", "size_bytes")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    size_bytes: int
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class GrowArrayResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TuneRequest(_message.Message):
    __slots__ = ("volume_id", "epoch", "tuning")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TUNING_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    tuning: Tuning
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., tuning: _Optional[_Union[Tuning, _Mapping]] = ...) -> None: ...

class TuneResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScrubRequest(_message.Message):
    __slots__ = ("volume_id", "epoch", "repair")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPAIR_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    epoch: int
    repair: bool
    def __init__(self, volume_id: _Optional[str] = ..., epoch: _Optional[int] = ..., repair: _Optional[bool] = ...) -> None: ...

class ScrubResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StageResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnstageRequest(_message.Message):
    __slots__ = ("volume_id", "path")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    path: str
    def __init__(self, volume_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class UnstageResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PublishResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnpublishRequest(_message.Message):
    __slots__ = ("volume_id", "path")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    path: str
    def __init__(self, volume_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class UnpublishResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MeasureRequest(_message.Message):
    __slots__ = ("volume_id", "path")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    path: str
    def __init__(self, volume_id: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class ExpandStagedRequest(_message.Message):
    __slots__ = ("volume_id", "path", "size_bytes")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    path: str
    size_bytes: int
    def __init__(self, volume_id: _Optional[str] = ..., path: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class ExpandStagedResponse(_message.Message):
    __slots__ = ("size_bytes",)
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    size_bytes: int
    def __init__(self, size_bytes: _Optional[int] = ...) -> None: ...

class ExamineVolumeRequest(_message.Message):
    __slots__ = ("volume_id", "paths")
    VOLUME_ID_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    volume_id: str
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, volume_id: _Optional[str] = ..., paths: _Optional[_Iterable[str]] = ...) -> None: ...

class ExamineStorageRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ailments(_message.Message):
    __slots__ = ("ailments",)
    AILMENTS_FIELD_NUMBER: _ClassVar[int]
    ailments: _containers.RepeatedCompositeFieldContainer[Ailment]
    def __init__(self, ailments: _Optional[_Iterable[_Union[Ailment, _Mapping]]] = ...) -> None: ...

class ListTracesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTracesResponse(_message.Message):
    __slots__ = ("traces",)
    TRACES_FIELD_NUMBER: _ClassVar[int]
    traces: _containers.RepeatedCompositeFieldContainer[Trace]
    def __init__(self, traces: _Optional[_Iterable[_Union[Trace, _Mapping]]] = ...) -> None: ...

class RemoveTraceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
