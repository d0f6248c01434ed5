"""Which classes are the operator's to take away."""

import pytest

from csi.operator.classes import is_ours, make_attributes_classes, make_storage_class
from replication.kubernetes.access import Json
from tests.unit.csi.operator.values import pool

MADE = [make_storage_class(pool()), *make_attributes_classes(pool())]


def rename(made: Json, name: str) -> Json:
    return {**made, "metadata": {**made["metadata"], "name": name}}


@pytest.mark.parametrize("made", MADE, ids=lambda made: made["metadata"]["name"])
def test_a_copy_under_another_name_is_its_makers(made: Json) -> None:
    assert is_ours(made)
    assert not is_ours(rename(made, "fast"))
    assert not is_ours(rename(made, "trilith-nvme-fast"))


def test_a_storage_class_called_like_a_tier_is_its_makers() -> None:
    assert not is_ours(rename(make_storage_class(pool()), "trilith-nvme-premium"))


def test_what_others_drivers_have_is_theirs() -> None:
    assert not is_ours({**make_storage_class(pool()), "provisioner": "example.org"})
    assert not is_ours({**make_attributes_classes(pool())[0], "driverName": "example.org"})
