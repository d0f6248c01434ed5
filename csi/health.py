"""What is wrong, as CSI says it: one entry for each status and reason."""

from collections.abc import Iterable

from csi.v1 import csi_pb2
from replication.model import Ailment, AilmentKind

HEALTH = csi_pb2.VolumeHealth
STORAGE = csi_pb2.NodeGetStorageHealthResponse

VOLUME_STATUS = {
    AilmentKind.DEGRADED: csi_pb2.DEGRADED,
    AilmentKind.INACCESSIBLE: csi_pb2.INACCESSIBLE,
    AilmentKind.DATA_LOSS: csi_pb2.DATA_LOSS,
}
STORAGE_STATUS = {
    AilmentKind.DEGRADED: csi_pb2.STORAGE_DEGRADED,
    AilmentKind.INACCESSIBLE: csi_pb2.STORAGE_UNREACHABLE,
    AilmentKind.DATA_LOSS: csi_pb2.STORAGE_UNREACHABLE,
}


def to_volume_health(volume_id: str, ailments: Iterable[Ailment]) -> csi_pb2.VolumeHealth:
    entries = [
        HEALTH.VolumeHealthEntry(status=VOLUME_STATUS[each.kind], reason=each.reason, message=each.message)
        for each in merge(ailments)
    ]
    return HEALTH(volume_id=volume_id, health_statuses=entries)


def to_storage_health(ailments: Iterable[Ailment]) -> csi_pb2.NodeGetStorageHealthResponse:
    found = [
        STORAGE.StorageBackendHealth(
            status=STORAGE_STATUS[each.kind], reason=each.reason, message=each.message
        )
        for each in merge(ailments)
    ]
    return STORAGE(backend_health=found)


def merge(ailments: Iterable[Ailment]) -> tuple[Ailment, ...]:
    """The worst first; those of one kind and reason as one, because the specification wants no second."""
    messages: dict[tuple[AilmentKind, str], list[str]] = {}
    for each in ailments:
        messages.setdefault((each.kind, each.reason), []).append(each.message)
    worst = (AilmentKind.DATA_LOSS, AilmentKind.INACCESSIBLE, AilmentKind.DEGRADED)
    order = sorted(messages, key=lambda key: (worst.index(key[0]), key[1]))
    return tuple(Ailment(*key, "; ".join(messages[key])) for key in order)
