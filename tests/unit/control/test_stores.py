"""The stores on this machine; and what the SQLite one says when its file is not as it should be."""

import multiprocessing
import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.control.store import sqlite as sqlite_module
from replication.control.store.base import Event
from replication.control.store.codec import decode, encode
from replication.control.store.memory import MemoryStore
from replication.control.store.sqlite import SqliteStore
from replication.errors import (
    Conflict,
    DataLoss,
    FailedPrecondition,
    OutOfSpace,
    Unavailable,
    Unsupported,
)
from replication.model import Volume
from tests.unit.control.records import volume
from tests.unit.control.sqlite_files import change, open_sqlite
from tests.unit.control.store_contract import StoreContract


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        opened = open_sqlite(tmp_path)
        yield opened
        opened.close()


def test_sqlite_keeps_the_newest_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "EVENTS_KEPT", 100)
    store = open_sqlite(tmp_path)
    for number in range(300):
        store.add_event(Event(float(number), "v0", "kind", str(number)))
    with store._connected() as db:
        assert db.execute("SELECT count(*) FROM events").fetchone()[0] == 100
    assert store.list_events(None, 1)[0].message == "299"


def test_a_record_of_before_a_field_existed_has_its_default() -> None:
    text = encode(volume()).replace(',"readonly":false', "")
    assert "readonly" not in text
    assert decode(Volume, text, "record") == volume()


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
