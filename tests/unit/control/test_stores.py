"""What every store does, and what the SQLite one says when its file is not as it should be."""

import multiprocessing
import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from replication.control.cordons import Cordon
from replication.control.insync import lose
from replication.control.settings import CLUSTER, Settings
from replication.control.store import sqlite as sqlite_module
from replication.control.store.base import Event, Store
from replication.control.store.codec import decode, encode
from replication.control.store.memory import MemoryStore
from replication.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    FailedPrecondition,
    NotFound,
    OutOfSpace,
    Unavailable,
    Unsupported,
)
from replication.model import Node, Pool, Volume
from tests.unit.control.records import volume
from tests.unit.control.sqlite_files import change, open_sqlite


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else open_sqlite(tmp_path)
    yield opened
    opened.close()


def test_a_record_is_swapped_by_whoever_read_it_last(store: Store) -> None:
    first = store.add_volume(volume())
    second = store.swap_volume(lose(first.volume, 1, {"r1": True}), first.version)
    assert (second.version, store.get_volume("v0")) == (2, second)
    with pytest.raises(Conflict, match="version 2 by now, not 1"):
        store.swap_volume(first.volume, first.version)
    with pytest.raises(Conflict):
        store.remove_volume("v0", first.version)
    store.remove_volume("v0", second.version)
    store.remove_volume("v0", second.version)
    with pytest.raises(NotFound):
        store.swap_volume(second.volume, second.version)
    with pytest.raises(NotFound):
        store.get_volume("v0")


def test_names_and_ids_are_taken_once(store: Store) -> None:
    store.add_volume(volume())
    for taken in (replace(volume(), name="other"), replace(volume(), id="v1")):
        with pytest.raises(AlreadyExists):
            store.add_volume(taken)
    other = store.add_volume(replace(volume(), id="v1", name="aaa"))
    assert store.find_volume("aaa") == other
    assert store.find_volume("zzz") is None
    assert [found.volume.name for found in store.list_volumes()] == ["aaa", "data"]


def test_a_page_of_volumes_goes_on_where_the_last_one_ended_even_if_that_is_gone(store: Store) -> None:
    for number in (3, 1, 2, 5):
        store.add_volume(replace(volume(), id=f"v{number}", name=f"name-{9 - number}"))
    assert [found.volume.id for found in store.list_volumes_after("", 2)] == ["v1", "v2"]
    store.remove_volume("v2", 1)
    store.add_volume(replace(volume(), id="v4", name="late"))
    assert [found.volume.id for found in store.list_volumes_after("v2", 9)] == ["v3", "v4", "v5"]


def test_a_record_of_before_a_field_existed_has_its_default() -> None:
    text = encode(volume()).replace(',"readonly":false', "")
    assert "readonly" not in text
    assert decode(Volume, text, "record") == volume()


def test_of_many_writers_one_wins_each_time(store: Store) -> None:
    store.add_volume(volume())
    won: list[int] = []

    def write(number: int) -> None:
        for version in range(1, 11):
            try:
                store.swap_volume(replace(volume(), epoch=number), version)
                won.append(version)
            except Conflict:
                continue

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(set(won))
    assert store.get_volume("v0").version == len(won) + 1


def test_nodes_and_pools_are_kept_by_name(store: Store) -> None:
    node, moved = Node("a", "a:1", "10.0.0.1"), Node("a", "a:2", "10.0.0.1")
    pool = Pool("nvme", ("a",), 1, (("a", "/dev/sda"),))
    store.add_node(node)
    store.add_node(node)
    with pytest.raises(AlreadyExists, match="a different node a"):
        store.add_node(moved)
    store.replace_node(node, moved)
    with pytest.raises(Conflict):
        store.replace_node(node, moved)
    assert store.list_nodes() == (moved,) == (store.get_node("a"),)
    store.add_pool(pool)
    store.replace_pool(pool, replace(pool, nodes=("a", "b")))
    assert store.list_pools()[0].nodes == store.get_pool("nvme").nodes == ("a", "b")
    store.remove_pool("nvme")
    store.remove_node("a")
    for get in (store.get_node, store.get_pool):
        with pytest.raises(NotFound):
            get("a")


def test_settings_are_empty_until_they_are_put(store: Store) -> None:
    assert store.get_settings("nvme") == Settings("nvme")
    for delay in (1.0, 2.0):
        store.put_settings(Settings("nvme", replacement_delay=delay))
    assert store.get_settings("nvme") == Settings("nvme", replacement_delay=2.0)
    assert store.get_settings(CLUSTER) == Settings()


def test_cordons_are_put_replaced_and_removed(store: Store) -> None:
    for cordon in (Cordon("b"), Cordon("a/vg"), Cordon("b", draining=True)):
        store.put_cordon(cordon)
    assert store.list_cordons() == (Cordon("a/vg"), Cordon("b", draining=True))
    store.remove_cordon("b")
    store.remove_cordon("b")
    assert store.list_cordons() == (Cordon("a/vg"),)


def test_the_newest_events_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "EVENTS_KEPT", 100)
    for number in range(300):
        store.add_event(Event(float(number), "v0" if number % 2 else "v1", "kind", str(number)))
    assert [event.message for event in store.list_events(None, 2)] == ["299", "298"]
    assert [event.message for event in store.list_events("v1", 1)] == ["298"]


def test_one_operation_at_a_time(store: Store) -> None:
    with store.lock("v0", "attach to b"):
        with pytest.raises(Conflict, match=r"attach to b.* under way on v0"), store.lock("v0", "delete"):
            pass
        with store.lock("v1", "delete"):
            pass
    with store.lock("v0", "delete", timeout=1.0):
        pass


@pytest.mark.parametrize("key", ["ä" * 128, "\udcff/..", "x" * 300])
def test_any_key_can_be_locked(store: Store, key: str) -> None:
    with store.lock(key, "delete"), pytest.raises(Conflict), store.lock(key, "attach"):
        pass


def test_waiting_for_a_lock_ends_when_it_is_free(store: Store) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock("v0", "attach"):
            held.set()
            done.wait(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    with store.lock("v0", "delete", timeout=5.0):
        pass
    thread.join()


def _die_holding(directory: str, ready: str) -> None:
    with open_sqlite(Path(directory)).lock("v0", "attach"):
        Path(ready).touch()
        os._exit(1)


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = multiprocessing.get_context("spawn").Process(
        target=_die_holding, args=(str(tmp_path), str(ready))
    )
    process.start()
    process.join()
    assert ready.exists()
    with open_sqlite(tmp_path).lock("v0", "delete"):
        assert (tmp_path / "locks" / "v0").exists()
    assert not (tmp_path / "locks" / "v0").exists()


def test_a_lock_needs_no_room(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with (
            store.lock("v0", "attach"),
            pytest.raises(Conflict, match="an operation under way on v0"),
            store.lock("v0", "delete"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_recorded_is_there_after_opening_again(tmp_path: Path) -> None:
    first = open_sqlite(tmp_path)
    record = first.add_volume(volume(resync_source="r1", parameters=(("tier", "basic"),), created=1.5))
    first.close()
    assert open_sqlite(tmp_path).get_volume("v0") == record


def test_a_store_of_another_cluster_is_refused(tmp_path: Path) -> None:
    open_sqlite(tmp_path).close()
    with pytest.raises(
        FailedPrecondition, match=r"state\.db is of cluster cluster, the identity is of .* other"
    ):
        open_sqlite(tmp_path, "other")


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    open_sqlite(tmp_path).close()
    change(tmp_path, "PRAGMA user_version = 7")
    with pytest.raises(Unsupported, match="schema 7, this program knows 2"):
        open_sqlite(tmp_path)


def test_events_are_kept_with_the_change_that_they_tell_of(store: Store) -> None:
    first = store.add_volume(volume())
    told = tuple(Event(float(number), "v0", "kind", str(number)) for number in range(2))
    second = store.swap_volume(replace(first.volume, epoch=9), first.version, told)
    assert [event.message for event in store.list_events("v0", 9)] == ["1", "0"]
    late = (Event(9.0, "v0", "kind", "late"),)
    for refused in (store.swap_volume, lambda v, n, e: store.remove_volume(v.id, n, e)):
        with pytest.raises(Conflict):
            refused(first.volume, first.version, late)
    assert "late" not in {event.message for event in store.list_events("v0", 9)}
    store.remove_volume("v0", second.version, late)
    store.remove_volume("v0", second.version, late)
    assert [event.message for event in store.list_events("v0", 9)] == ["late", "1", "0"]


def test_a_file_that_is_no_database_is_data_loss(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DataLoss, match=r"state\.db is not a database.*backup"):
        open_sqlite(tmp_path)


def test_a_damaged_page_is_data_loss(tmp_path: Path) -> None:
    open_sqlite(tmp_path).close()
    content = bytearray((tmp_path / "state.db").read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(DataLoss, match=r"state\.db is damaged"):
        open_sqlite(tmp_path).add_volume(volume())


@pytest.mark.parametrize(
    "record", ["{}", "[]", "nonsense", '{"id":1}', encode(volume())[:-1] + ',"unknown":1}']
)
def test_a_damaged_record_is_data_loss_and_is_named(tmp_path: Path, record: str) -> None:
    store = open_sqlite(tmp_path)
    store.add_volume(volume())
    change(tmp_path, "UPDATE volumes SET record = ?", record)
    with pytest.raises(DataLoss, match=r"record of volume v0 in .*is damaged"):
        store.get_volume("v0")


def test_a_locked_store_says_who_to_look_for(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, busy_seconds=0.05)
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked by another process"):
        store.add_volume(volume())
    other.close()
    assert store.add_volume(volume()).version == 1


def test_a_full_disk_says_to_make_room(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    with store._connected() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutOfSpace, match="make room"):
        store.add_volume(volume(parameters=(("large", "x" * 100_000),)))
    assert store.list_volumes() == ()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(Unavailable, match="state"):
        open_sqlite(tmp_path / "state")


def test_a_store_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    with store._connected() as db:
        db.execute("PRAGMA query_only = 1")
    with pytest.raises(Unavailable, match="cannot be written"):
        store.add_volume(volume())


def test_no_lock_without_a_directory(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    (tmp_path / "locks").rmdir()
    with pytest.raises(Unavailable, match="check the directory"), store.lock("v0", "attach"):
        pass


def test_threads_do_not_pile_up_open_files(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        thread = threading.Thread(target=store.list_volumes)
        thread.start()
        thread.join()
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 20


@pytest.mark.parametrize("record", [volume(), volume("irs", resync_source=None, created=3.0)])
def test_records_survive_the_codec(record: Volume) -> None:
    assert decode(Volume, encode(record), "it") == record
