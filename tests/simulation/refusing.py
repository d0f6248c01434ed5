"""A disk refuses a write, of a user or of a copy: the hold layer lets it pass, and md fails the member."""

from tests.simulation import kernel
from tests.simulation.kernel import Array, Disk, Plant


def refuse(plant: Plant, array: Array, replica: int, *, late: bool = False) -> Plant | None:
    """A write that all others take. md waits with it until somebody lets the array go on.

    `late`: md had failed the member already when the error of this write came; it waits for the others only,
    and may have been on its way when another member was failed. None where it does not come to that: nobody
    else serves, and the last member is never failed; or the bits that go out first wait for another.
    """
    member, taking = array.members[replica], frozenset(kernel.taking(array))
    others, there = taking - {replica}, kernel.reached(plant, array, taking)
    if member is None or replica not in there or array.held or (kernel.is_blocked(array) and not late):
        return None
    if not others.intersection(kernel.serving(array)) or (not others <= there and not array.bit):
        return None
    plant, begun = kernel.begin(kernel.mark(plant, there & others), array)
    pending = others if late else others | {replica}
    failed = kernel.with_member(begun, replica, member._replace(faulty=True))
    failed = failed._replace(bit=True, sent=True, pending=pending)
    plant = kernel.with_disk(plant, replica, _refused(plant.disks[replica]))
    return kernel.go_on(kernel.with_array(plant, begun, failed), failed)


def refuse_copy(plant: Plant, array: Array, replica: int, *, elsewhere: bool = False) -> Plant | None:
    """What a recovery writes to it. `elsewhere`: what is followed here had been copied before.

    None where no recovery could end.
    """
    member, ended = array.members[replica], kernel.end_recovery(plant, array, replica)
    if member is None or ended is None:
        return None
    disk = ended.disks[replica]._replace(bit=plant.disks[replica].bit) if elsewhere else plant.disks[replica]
    plant = kernel.with_disk(plant, replica, _refused(disk))
    return kernel.with_array(plant, array, kernel.with_member(array, replica, member._replace(faulty=True)))


def mark(plant: Plant, replica: int) -> Plant:
    """Its node writes into its header what the kernel has told."""
    return kernel.with_disk(plant, replica, plant.disks[replica]._replace(unmarked=False))


def is_marked(disk: Disk) -> bool:
    return disk.suspect and not disk.unmarked


def _refused(disk: Disk) -> Disk:
    return disk._replace(suspect=True, unmarked=disk.unmarked or not disk.suspect)
