"""Several controllers, and people, at the same objects."""

import threading
from dataclasses import replace

import pytest

from replication.control.events import Events
from replication.control.records import Records
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import (
    CLUSTER_NAME,
    CLUSTERS,
    FINALIZER,
    VOLUME_NAMES,
    VOLUMES,
    object_name,
)
from replication.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidRequest,
    StaleEpoch,
    Unsupported,
)
from replication.kubernetes.client import Client
from replication.model import GIB, Phase, Volume
from tests.kubernetes.admission_stand import Stand
from tests.kubernetes.conftest import OpenStore
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.test_operator_pools import DISK_POOLS, POOLS, make_pool
from tests.unit.control.records import volume

V0 = f"{VOLUMES}/v0"
NEVER = -1


def test_one_of_many_that_want_a_name_gets_it(open_store: OpenStore, admin: Client) -> None:
    stores = [open_store(), open_store()]
    made: list[str] = []

    def make(number: int) -> None:
        try:
            made.append(stores[number % 2].add_volume(volume(id=f"v{number}")).volume.id)
        except AlreadyExists:
            return

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [found["metadata"]["name"] for found in admin.get(VOLUMES)["items"]]
    assert len(made) == 1
    assert kept == made
    assert [store.find_volume("data") for store in stores] == [stores[0].get_volume(made[0])] * 2


def test_a_name_is_free_again_when_its_volume_is_gone(store: KubernetesStore) -> None:
    store.add_volume(volume())
    store.remove_volume("v0", 1)
    assert store.find_volume("data") is None
    store.add_volume(volume(id="v1"))
    assert store.find_volume("data") == store.get_volume("v1")


def test_a_volume_whose_maker_died_before_it_was_named_is_not_in_the_way(
    store: KubernetesStore, admin: Client
) -> None:
    store.add_volume(volume(phase=Phase.CREATING))
    admin.delete(f"{VOLUME_NAMES}/data")
    assert store.find_volume("data") is None
    store.add_volume(volume(id="v1"))
    store.remove_volume("v0", 1)
    assert store.find_volume("data") == store.get_volume("v1")


def test_what_is_recalled_is_followed_though_nobody_lists(open_store: OpenStore) -> None:
    writer, reader = open_store(), open_store()
    writer.add_volume(volume())
    wait_for(lambda: recall_epoch(reader), 1)
    writer.swap_volume(volume(epoch=7), 1)
    wait_for(lambda: recall_epoch(reader), 7)


def recall_epoch(store: KubernetesStore) -> int:
    known = store.recall_volume("v0")
    return NEVER if known is None else known.volume.epoch


@pytest.mark.parametrize(
    "name",
    ["Data", "a/b", "..", "ä" * 64, "\U0001f4be" * 32, "a" * 128, object_name("/")],
    ids=["capital", "slash", "dots", "umlauts", "wide", "long", "as a hash"],
)
def test_a_name_may_be_anything(store: KubernetesStore, name: str) -> None:
    made = store.add_volume(volume(name=name, parameters=(("a/b ä", "\n"), ("z", ""))))
    assert store.find_volume(name) == store.get_volume("v0") == store.list_volumes()[0] == made


def test_what_others_write_to_the_object_is_in_nobodys_way(store: KubernetesStore, admin: Client) -> None:
    first = store.add_volume(volume())
    note = {"op": "add", "path": "/metadata/annotations", "value": {"note": "by somebody"}}
    admin.patch(V0, [note])
    told = {"apiVersion": "trilith.io/v1alpha1", "kind": "Volume", "status": {"health": "Degraded"}}
    admin.apply(f"{V0}/status", {**told, "metadata": {"name": "v0"}})
    second = store.swap_volume(replace(first.volume, epoch=2), first.version)
    kept = admin.get(V0)
    assert second.version == 2
    assert (kept["metadata"]["annotations"], kept["status"]) == (
        {"note": "by somebody"},
        {"health": "Degraded"},
    )
    store.remove_volume("v0", second.version)
    assert admin.get(VOLUMES)["items"] == []


def test_a_record_outlives_the_deletion_of_its_object(store: KubernetesStore, admin: Client) -> None:
    first = store.add_volume(volume())
    admin.delete(V0)
    assert admin.get(V0)["metadata"]["finalizers"] == [FINALIZER]
    second = store.swap_volume(replace(first.volume, phase=Phase.DELETING), first.version)
    store.remove_volume("v0", second.version)
    assert store.list_volumes() == ()
    assert admin.get(VOLUMES)["items"] == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"version": 3}, "version was not raised by one"),
        ({"version": 1, "epoch": 2}, "version was not raised by one"),
        ({"epoch": 0}, "an epoch that is over never comes again"),
        ({"nextReplica": 2}, "a replica's id is never used twice"),
        ({"sizeBytes": 1}, "a volume never becomes smaller"),
        ({"name": "other"}, "a volume keeps its name and its pool"),
        ({"pool": "other"}, "a volume keeps its name and its pool"),
        ({"replicaCount": 2}, "bitmapChunkBytes and replicaCount are chosen when a volume is made"),
        ({"bitmapChunkBytes": 1}, "bitmapChunkBytes and replicaCount are chosen when a volume is made"),
        ({"replicas": []}, "the last replica in sync is never given up"),
        ({"phase": "broken"}, "Unsupported value"),
    ],
)
def test_the_server_itself_refuses_what_no_record_may_become(
    store: KubernetesStore, admin: Client, changed: dict[str, object], why: str
) -> None:
    store.add_volume(volume())
    spec = {**admin.get(V0)["spec"], "version": 2, **changed}
    with pytest.raises(InvalidRequest, match=why):
        admin.patch(V0, [{"op": "replace", "path": "/spec", "value": spec}])
    assert store.get_volume("v0").version == 1


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"path": "/spec/replicas", "value": 3}, "replicas"),
        ({"path": "/spec", "value": {"disks": {"striped": True}}}, "replicas"),
        ({"path": "/spec/disks/striped", "value": False}, "striped"),
        ({"path": "/spec/disks", "value": {}}, "striped"),
    ],
)
def test_what_is_chosen_when_a_pool_is_made_stays(admin: Client, step: dict[str, object], field: str) -> None:
    made = {"replicas": 1, "disks": {"striped": True, "type": "nvme"}}
    make_pool(admin, replicas=made["replicas"], disks=made["disks"])
    with pytest.raises(InvalidRequest, match=f"{field} is chosen when the pool is made; make another pool"):
        admin.patch(f"{POOLS}/nvme", [{"op": "add", **step}])
    assert made.items() <= admin.get(f"{POOLS}/nvme")["spec"].items()


@pytest.mark.parametrize("field", ["pool", "node"])
def test_a_disk_pool_stays_of_its_pool_and_node(admin: Client, field: str) -> None:
    Stand(admin, []).make_disk_pool("nvme", "a", GIB)
    with pytest.raises(InvalidRequest, match="another node or pool has another DiskPool"):
        admin.patch(f"{DISK_POOLS}/nvme-a", [{"op": "add", "path": f"/spec/{field}", "value": "other"}])
    assert admin.get(f"{DISK_POOLS}/nvme-a")["spec"] == {"pool": "nvme", "node": "a"}


def test_a_refused_record_is_no_conflict(store: KubernetesStore) -> None:
    """Records are tried again after a conflict, and this one would be for ever."""
    first = store.add_volume(volume())
    with pytest.raises(InvalidRequest, match="epoch"):
        store.swap_volume(replace(first.volume, epoch=0), first.version)
    with pytest.raises(Conflict):
        store.swap_volume(replace(first.volume, epoch=0), first.version + 1)


def test_every_field_of_a_record_is_kept(store: KubernetesStore) -> None:
    full = volume(
        "irs", resync_source="r0", created=1.25, lost_since=1e9 + 1 / 3, consumer_boot="b", upkeep=True
    )
    first = store.add_volume(full)
    assert store.get_volume("v0") == first
    bare = replace(full, resync_source=None, consumer=None)
    store.swap_volume(bare, 1)
    found: Volume = store.get_volume("v0").volume
    assert found == bare


def test_records_of_another_cluster_or_a_newer_program_are_left_alone(
    open_store: OpenStore, admin: Client
) -> None:
    open_store()
    with pytest.raises(FailedPrecondition, match="are of cluster cluster, the identity is of cluster other"):
        open_store(cluster="other")
    newer = {"op": "replace", "path": "/spec/format", "value": 2}
    admin.patch(f"{CLUSTERS}/{CLUSTER_NAME}", [newer])
    with pytest.raises(Unsupported, match="have format 2, this program knows 1"):
        open_store()


def test_a_record_that_somebody_else_has_made_newer_is_read_before_it_is_swapped(
    open_store: OpenStore,
) -> None:
    """What is known of it is only good to begin with."""
    store, other = open_store(), open_store()
    records = Records(store, CLOCK, Events(store, CLOCK))
    store.add_volume(volume())
    assert records.change("v0", lambda found: replace(found, epoch=found.epoch + 1)).version == 2
    other.swap_volume(replace(volume(), epoch=7), 2)
    assert records.change("v0", lambda found: replace(found, epoch=found.epoch + 1)).volume.epoch == 8


def test_a_step_that_an_old_record_refuses_is_asked_again_of_the_new_one(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    records = Records(store, CLOCK, Events(store, CLOCK))
    store.add_volume(volume())
    other.swap_volume(replace(volume(), epoch=7), 1)

    def step(found: Volume) -> Volume:
        if found.epoch != 7:
            raise StaleEpoch(f"epoch {found.epoch}")
        return replace(found, epoch=8)

    assert records.change("v0", step).volume.epoch == 8
    with pytest.raises(StaleEpoch, match="epoch 8"):
        records.change("v0", step)
