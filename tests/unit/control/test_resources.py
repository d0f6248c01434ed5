"""Records as objects: every field has its place in a schema of deploy/crds, and every name its own object."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from hack.lab.paths import REPOSITORY
from replication.control.store.resources import (
    CORDONS,
    NODES,
    POOLS,
    SETTINGS,
    object_name,
    parse_volume,
    to_spec,
    volume_object,
)
from replication.errors import DataLoss
from replication.kubernetes.access import Json
from replication.model import CopyMode, Limits, Node, Pool, Replica, ReplicaState, Versioned, Volume
from tests.unit.control.records import volume


def read_schema(plural: str) -> Json:
    document = yaml.safe_load((REPOSITORY / "deploy" / "crds" / f"{plural}.yaml").read_text())
    (version,) = document["spec"]["versions"]
    schema: Json = version["schema"]["openAPIV3Schema"]
    return schema


def camel(record: type) -> set[str]:
    words = (field.name.split("_") for field in fields(record))
    return {first + "".join(word.capitalize() for word in others) for first, *others in words}


@pytest.mark.parametrize("resource", [NODES, POOLS, CORDONS, SETTINGS], ids=lambda each: each.plural)
def test_a_schema_has_the_fields_of_its_record(resource: object) -> None:
    plural, record = resource.plural, resource.record  # type: ignore[attr-defined]  # of four different records
    assert read_schema(plural)["properties"]["spec"]["properties"].keys() == camel(record)


def test_the_schema_of_volumes_has_the_fields_of_the_record() -> None:
    spec = read_schema("volumes")["properties"]["spec"]["properties"]
    assert spec.keys() == camel(Volume) - {"id"} | {"version"}
    assert spec["replicas"]["items"]["properties"].keys() == camel(Replica)
    assert spec["limits"]["properties"].keys() == camel(Limits)
    assert set(spec["replicas"]["items"]["properties"]["state"]["enum"]) == set(ReplicaState)
    assert set(spec["replicas"]["items"]["properties"]["copy"]["enum"]) == set(CopyMode)


def list_undescribed(schema: Json, path: str) -> list[str]:
    """Fields of it, and of what its lists hold, that have no words."""
    inner = {**schema.get("properties", {}), **schema.get("items", {}).get("properties", {})}
    found = [f"{path}.{name}" for name, field in inner.items() if "description" not in field]
    return found + [
        each for name, field in inner.items() for each in list_undescribed(field, f"{path}.{name}")
    ]


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "deploy" / "crds").glob("*.yaml")), ids=lambda p: p.stem
)
def test_kubectl_explain_has_words_for_every_field(path: Path) -> None:
    assert list_undescribed(read_schema(path.stem), path.stem) == []


def test_pairs_are_written_by_name_and_read_back() -> None:
    node = Node("a", "a:1", "10.0.0.1", labels=(("zone", "z1"),))
    pool = Pool("nvme", ("a",), 1, (("a", "/dev/sda"), ("a", "/dev/sdb")))
    assert to_spec(node)["labels"] == {"zone": "z1"}
    assert to_spec(pool)["disks"] == [{"node": "a", "path": "/dev/sda"}, {"node": "a", "path": "/dev/sdb"}]
    assert NODES.parse(NODES.to_object(node)) == node
    assert POOLS.parse(POOLS.to_object(pool)) == pool


def test_a_record_of_before_a_field_existed_has_its_default() -> None:
    made = volume_object(volume(), 7)
    del made["spec"]["readonly"], made["spec"]["limits"]
    assert parse_volume(made) == Versioned(volume(), 7)


@pytest.mark.parametrize(
    "damage",
    [{"version": None}, {"phase": "x"}, {"unknown": 1}, {"replicas": {}}, {"parameters": []}, {"epoch": "1"}],
    ids=str,
)
def test_a_damaged_object_is_data_loss_and_is_named(damage: Json) -> None:
    made = volume_object(volume(), 7)
    with pytest.raises(DataLoss, match="record of volume v0 in Kubernetes is damaged"):
        parse_volume({**made, "spec": {**made["spec"], **damage}})


def test_no_two_names_have_the_same_object() -> None:
    odd = ("", "A", "a", "a/b", "-a", "a-", "a..b", "ä", "x" * 201, "\udcff", object_name("A"))
    assert len({object_name(name) for name in odd}) == len(odd)
    assert object_name("a.b-c") == "a.b-c"
