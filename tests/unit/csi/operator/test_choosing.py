"""Which disks of which nodes a pool gets."""

from typing import Any

import pytest

from csi.operator.choosing import choose_all, is_called, matches, names
from replication.control.cordons import WHY_SHUT, Cordon, shut_disks
from tests.unit.csi.operator.values import disk, facts, machine, pool

NVME0, NVME1 = disk("/dev/nvme0n1"), disk("/dev/nvme1n1")


def test_a_pool_takes_every_empty_nvme_disk_of_every_node() -> None:
    seen = {
        "a": facts("a", NVME0, NVME1, disk("/dev/sda")),
        "b": facts("b", disk("/dev/nvme0n1", "it holds ext4")),
        "c": facts("c"),
    }
    choice = choose_all([pool()], [machine(name) for name in "abcd"], seen)["nvme"]
    assert choice.disks == choice.new == {"a": ("/dev/nvme0n1", "/dev/nvme1n1")}
    assert choice.refused == {"b": "/dev/nvme0n1: it holds ext4", "c": "it has no disk"}


def test_what_a_pool_has_it_keeps_whatever_its_manifest_says() -> None:
    seen = {"a": facts("a", NVME0, NVME1, pools={"/dev/nvme0n1": "nvme"})}
    elsewhere = pool(selector=(("disk", "yes"),), exclude=("/dev/nvme0n1",))
    choice = choose_all([elsewhere], [machine("a")], seen)["nvme"]
    assert (choice.disks, choice.new) == ({"a": ("/dev/nvme0n1",)}, {})


def test_a_disk_that_is_cordoned_goes_to_no_pool_until_it_is_not() -> None:
    cordons = [Cordon("a/vg-nvme1n1", draining=True), Cordon("b/vg-nvme0n1"), Cordon("a")]
    seen = facts("a", NVME0, NVME1, pools={"/dev/nvme0n1": "nvme"})
    choice = choose_all([pool()], [machine("a")], {"a": shut_disks(seen, cordons)})["nvme"]
    assert (choice.disks, choice.new) == ({"a": ("/dev/nvme0n1",)}, {})
    alone = facts("a", NVME1)
    choice = choose_all([pool()], [machine("a")], {"a": shut_disks(alone, cordons)})["nvme"]
    assert choice.refused == {"a": f"/dev/nvme1n1: {WHY_SHUT}"}
    choice = choose_all([pool()], [machine("a")], {"a": shut_disks(seen, cordons[1:])})["nvme"]
    assert choice.new == {"a": ("/dev/nvme1n1",)}


def test_the_first_pool_has_a_disk_that_both_match_whichever_is_looked_at_first() -> None:
    old, new = pool("old", created=1.0), pool("new", created=2.0)
    found = choose_all([new, old], [machine("a")], {"a": facts("a", NVME0)})
    assert found["old"].new == {"a": ("/dev/nvme0n1",)}
    assert (found["new"].disks, found["new"].rivals) == ({}, {"old"})
    assert found["new"].refused == {"a": "/dev/nvme0n1: pool old has it"}


def test_a_pool_that_has_a_disk_keeps_it_from_an_older_one() -> None:
    old, new = pool("old", created=1.0), pool("new", created=2.0)
    seen = {"a": facts("a", disk("/dev/nvme0n1", "in pool new already"), pools={"/dev/nvme0n1": "new"})}
    found = choose_all([old, new], [machine("a")], seen)
    assert (found["old"].disks, found["old"].rivals) == ({}, {"new"})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"selector": (("rack", "1"),)}, True),
        ({"selector": (("rack", "2"),)}, False),
        ({"zones": ("z1", "z2")}, True),
        ({"zones": ("z2",)}, False),
    ],
)
def test_nodes_are_chosen_by_labels_and_zones(changes: dict[str, Any], wanted: bool) -> None:
    node = machine("a", {"rack": "1", "topology.kubernetes.io/zone": "z1"})
    assert matches(pool(**changes), node) is wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"include": ("/dev/nvme0n1",)}, True),
        ({"include": ("/dev/nvme1n1",)}, False),
        ({"exclude": ("/dev/nvme0n1",)}, False),
        ({"include": ("/dev/nvme0n1",), "exclude": ("/dev/disk/by-id/nvme-A_B_S1",)}, False),
    ],
)
def test_disks_are_chosen_by_name(changes: dict[str, Any], wanted: bool) -> None:
    assert names(pool(**changes), NVME0) is wanted


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/dev/nvme0n1", True),
        ("/dev/disk/by-id/nvme-A_B_S1", True),
        ("/dev/disk/by-id/nvme-A_B_S1_1", True),
        ("/dev/disk/by-id/nvme-A_B_S12", False),
        ("/dev/disk/by-id/nvme-A_B_", False),
    ],
)
def test_a_disk_is_known_by_the_name_that_udev_gives_it(path: str, wanted: bool) -> None:
    assert is_called(NVME0, path) is wanted


def test_a_disk_without_a_serial_number_has_no_such_name() -> None:
    assert not is_called(disk("/dev/nvme0n1", serial=""), "/dev/disk/by-id/nvme-A_B_")
