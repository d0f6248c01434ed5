"""What a StorageClass and a VolumeAttributesClass may say."""

import pytest

from csi.parameters import StorageClass, change_limits, parse_storage_class
from replication.errors import InvalidRequest
from replication.model import Limits

FSTYPE = "csi.storage.k8s.io/fstype"


def test_everything_that_can_be_said() -> None:
    given = {
        "pool": "nvme",
        "replicas": "3",
        "hyperconverged": "true",
        "spread": "topology.kubernetes.io/region",
        "minInSyncReplicas": "2",
        "tier": "basic",
        "readIOPS": "20k",
        "writeIOPS": "500",
        "readBandwidth": "64Mi",
        "writeBandwidth": "10000000",
        FSTYPE: "xfs",
        "csi.storage.k8s.io/pvc/name": "data",
    }
    limits = Limits("basic", 20_000, 500, 64 << 20, 10_000_000)
    parsed = parse_storage_class(given, {})
    assert parsed == StorageClass("nvme", 3, "xfs", True, "topology.kubernetes.io/region", 2, limits)
    assert parsed.to_record("xfs") == (
        ("filesystem", "xfs"),
        ("hyperconverged", "true"),
        ("minInSyncReplicas", "2"),
        ("readBandwidth", "67108864"),
        ("readIOPS", "20000"),
        ("spread", "topology.kubernetes.io/region"),
        ("tier", "basic"),
        ("writeBandwidth", "10000000"),
        ("writeIOPS", "500"),
    )


def test_all_but_the_pool_may_be_left_out() -> None:
    assert parse_storage_class({"pool": "nvme"}, {}) == StorageClass("nvme")
    assert parse_storage_class({"pool": "nvme", "hyperconverged": "false"}, {}).to_record("") == ()
    assert parse_storage_class({}, {}, needs_pool=False) == StorageClass("")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'pool': missing"),
        ({"pool": ""}, "'pool': missing"),
        ({"pool": "p", "replicas": "2"}, r"'replicas' \('2'\): must be one of 1, 3, 5"),
        ({"pool": "p", "replicas": "three"}, r"'replicas' \('three'\): must be one of 1, 3, 5"),
        ({"pool": "p", "replicas": ""}, r"'replicas' \(''\)"),
        ({"pool": "p", "replica": "3"}, r"'replica' \('3'\): unknown; known are pool, replicas, hyper"),
        ({"pool": "p", FSTYPE: "btrfs"}, "'btrfs': must be one of ext4, xfs"),
        ({"pool": "p", FSTYPE: ""}, "'': must be one of ext4, xfs"),
        ({"pool": "p", "hyperconverged": "yes"}, r"\('yes'\): must be one of true, false"),
        ({"pool": "p", "spread": "a b"}, "'spread' .* must be the key of a label"),
        ({"pool": "p", "spread": ""}, "'spread'"),
        ({"pool": "p", "minInSyncReplicas": "0"}, r"\('0'\): must be one of 1, 2, 3, 4, 5"),
        ({"pool": "p", "tier": "gold"}, r"'tier' \('gold'\): must be one of basic, standard, premium"),
        ({"pool": "p", "readIOPS": "99"}, r"'readIOPS' \('99'\): must be operations per second"),
        ({"pool": "p", "writeIOPS": "-1"}, "'writeIOPS'"),
        ({"pool": "p", "readIOPS": "1e3"}, "'readIOPS'"),
        ({"pool": "p", "readIOPS": "1000Ti"}, "'readIOPS'"),
        ({"pool": "p", "readIOPS": "\u0665\u0660\u0660"}, "'readIOPS'"),
        ({"pool": "p", "writeBandwidth": "1k"}, r"'writeBandwidth' \('1k'\): must be bytes per second"),
    ],
)
def test_a_bad_parameter_is_named(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_storage_class(parameters, {})


def test_mutable_parameters_take_precedence() -> None:
    made = parse_storage_class({"pool": "p", "tier": "basic", "readIOPS": "500"}, {"tier": "premium"})
    assert made.limits == Limits("premium", 500)


def test_only_what_is_named_changes_and_nothing_takes_a_bound_back() -> None:
    before = Limits("basic", 500, 600)
    assert change_limits(before, {}) == before
    assert change_limits(before, {"readIOPS": ""}) == Limits("basic", 0, 600)
    assert change_limits(before, {"writeBandwidth": "2Mi"}) == Limits("basic", 500, 600, 0, 2 << 20)


@pytest.mark.parametrize("parameters", [{"foo": "bar"}, {"pool": "p"}, {"tier": ""}])
def test_what_cannot_be_changed_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(parameters))):
        change_limits(Limits(), parameters)
