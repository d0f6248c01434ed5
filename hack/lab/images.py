"""A machine's disk as a thing that is carried about while its power is off: copied, put back, exchanged."""

from pathlib import Path

from hack.lab.diskcopy import copy_image
from hack.lab.errors import LabError
from hack.lab.vm import Machine


def copy_disk(machine: Machine, index: int = 0) -> Path:
    """An image of the disk as it is now, beside it; it lives as long as the cluster."""
    disk = _find_disk(machine, index)
    image = disk.with_suffix(".image")
    copy_image(disk, image)
    return image


def put_disk(machine: Machine, image: Path, index: int = 0) -> None:
    """The disk holds what `image` does, and has the serial number that it had."""
    copy_image(image, _find_disk(machine, index))


def empty_disk(machine: Machine, index: int = 0) -> None:
    """Another disk of the same size and serial number is in its place, which holds nothing."""
    disk = _find_disk(machine, index)
    size = disk.stat().st_size
    with disk.open("wb") as file:
        file.truncate(size)


def _find_disk(machine: Machine, index: int) -> Path:
    if machine.running:
        raise LabError(f"{machine.name} runs: its disks cannot be taken out")
    return machine.hardware.disks[index]
