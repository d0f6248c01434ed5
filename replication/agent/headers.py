"""A replica's header, where it lies on one disk or on several.

One that lies on several has its header at its beginning, as any has, and besides a copy at the beginning of
each part, outside of what they make up together. These show that each part is there, is the one that it is
taken for, and is no old copy of itself. They are written before the header is: so each has seen at least what
the header has, whenever the power goes.
"""

from dataclasses import replace

from replication.agent.books import Part, Place
from replication.errors import DataLoss, KernelError, NotFound, TrilithError
from replication.kernel import blockdev, header
from replication.kernel.header import Header
from replication.kernel.sysfs import Tree
from replication.layout import DATA_OFFSET_BYTES


def find(tree: Tree, place: Place) -> Header | None:
    """None where none is meant to be; DataLoss when it is damaged, or a part is not what it has to be.

    The epoch is the highest that any part has seen, the record's version the lowest. One part
    that is suspect is enough.
    """
    head = header.find_header(place.device)
    if head is None or not place.parts:
        return head
    stamps = [_get_stamp(part, head) for part in place.parts]
    _check_size(tree, place, head)
    return replace(
        head,
        epoch=max(each.epoch for each in (head, *stamps)),
        record_version=min(each.record_version for each in (head, *stamps)),
        suspect=any(each.suspect for each in (head, *stamps)),
    )


def read(tree: Tree, place: Place) -> Header:
    """DataLoss, naming the device, when there is none."""
    head = find(tree, place)
    if head is None:
        raise DataLoss(f"{place.device}: there is no replica's header")
    return head


def _get_stamp(part: Part, head: Header) -> Header:
    stamp = header.read_header(part.device)
    wanted = (head.cluster, head.volume_id, head.replica_id, part.name.number)
    if (stamp.cluster, stamp.volume_id, stamp.replica_id, stamp.part) != wanted:
        raise DataLoss(
            f"{part.device}: it is part {stamp.part} of replica {stamp.replica_id} of {stamp.volume_id}"
        )
    return stamp


def _check_size(tree: Tree, place: Place, head: Header) -> None:
    size = blockdev.size_bytes(tree, blockdev.kernel_name(tree, place.device))
    if size < DATA_OFFSET_BYTES + head.size_bytes:
        raise DataLoss(f"{place.device}: it has {size} bytes, and its header says {head.size_bytes} of data")


def write(place: Place, head: Header) -> Header:
    """What is stored, with its sequence."""
    for part in reversed(place.parts):
        header.write_header(part.device, replace(head, part=part.name.number))
    return header.write_header(place.device, head)


def mark_suspect(place: Place) -> bool:
    """Wherever it can be written down, and whether that was news anywhere. One part that says it is enough.

    What refuses a write as a rule is one disk of several, and it refuses this one too.
    """
    marked, errors = list[bool](), list[TrilithError]()
    for device in _list_devices(place):
        try:
            marked.append(_mark_suspect(device, place))
        except (KernelError, NotFound) as error:
            errors.append(error)
    if not marked:
        raise errors[0]
    return any(marked)


def _mark_suspect(device: str, place: Place) -> bool:
    """Not what is damaged, or was left by an earlier volume: that is no replica."""
    try:
        head = header.find_header(device)
    except DataLoss:
        return False
    ours = head is not None and (head.volume_id, head.replica_id) == (place.volume_id, place.replica_id)
    if head is None or not ours or head.suspect:
        return False
    header.write_header(device, replace(head, suspect=True))
    return True


def remove(place: Place) -> None:
    """Repeatable: nothing takes it for a replica any more, and it holds zeroes there."""
    for device in _list_devices(place):
        header.remove_header(device)


def discard(place: Place) -> None:
    """Repeatable. The header first: without it the parts are nothing, whatever they say."""
    for device in _list_devices(place):
        header.discard_header(device)


def _list_devices(place: Place) -> tuple[str, ...]:
    return place.device, *(part.device for part in place.parts)
