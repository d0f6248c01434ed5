"""What the SQLite store remembers of what it has read, while others write; and what it writes in one go."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.insync import begin_attach
from replication.control.lifecycle import VolumeRequest
from replication.control.reconciler import Reconciler
from replication.control.settings import CLUSTER, Settings
from replication.control.store.base import Event
from replication.control.store.codec import encode
from replication.errors import DataLoss, Unavailable
from replication.model import GIB, Attachment, Node
from tests.fakes.node import FakeCluster
from tests.unit.control.records import volume
from tests.unit.control.sqlite_files import change, open_sqlite

FIRST_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE volumes (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE TABLE named (
    kind TEXT NOT NULL, name TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (kind, name)
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL,
    subject TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_subject ON events (subject, number);
INSERT INTO meta VALUES ('cluster', 'cluster');
PRAGMA user_version = 1;
"""


def test_a_store_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.executescript(FIRST_SCHEMA)
        connection.execute("INSERT INTO volumes VALUES ('v0', 'data', 7, ?)", (encode(volume()),))
    connection.close()
    store, other = open_sqlite(tmp_path), open_sqlite(tmp_path)
    assert [found.version for found in store.list_volumes()] == [7]
    other.swap_volume(replace(volume(), epoch=3), 7)
    assert [found.version for found in store.list_volumes()] == [8]


def test_what_another_process_writes_is_seen_at_once(tmp_path: Path) -> None:
    store, other = open_sqlite(tmp_path), open_sqlite(tmp_path)
    node, moved = Node("a", "a:1", "10.0.0.1"), Node("a", "a:2", "10.0.0.1")
    assert store.list_nodes() == ()
    other.add_node(node)
    assert store.list_nodes() == (node,) == (store.get_node("a"),)
    other.replace_node(node, moved)
    assert store.list_nodes() == (moved,) == (store.get_node("a"),)
    other.remove_node("a")
    assert store.list_nodes() == ()
    other.put_settings(Settings(CLUSTER, replacement_delay=3.0))
    assert store.get_settings(CLUSTER).replacement_delay == 3.0
    other.put_settings(Settings(CLUSTER, replacement_delay=4.0))
    assert store.get_settings(CLUSTER).replacement_delay == 4.0


def test_a_list_of_volumes_is_always_the_newest_whoever_wrote(tmp_path: Path) -> None:
    store, other = open_sqlite(tmp_path), open_sqlite(tmp_path)
    first = other.add_volume(volume())
    second = other.add_volume(replace(volume(), id="v1", name="aaa"))
    assert store.list_volumes() == (second, first)
    swapped = other.swap_volume(replace(first.volume, epoch=9), first.version)
    assert store.list_volumes() == (second, swapped)
    store.remove_volume("v1", second.version)
    assert store.list_volumes() == other.list_volumes() == (swapped,)


def test_records_that_have_not_changed_are_not_parsed_again(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    for number in range(3):
        store.add_volume(replace(volume(), id=f"v{number}", name=f"name-{number}"))
    store.add_node(Node("a", "a:1", "10.0.0.1"))
    before, nodes = store.list_volumes(), store.list_nodes()
    store.swap_volume(replace(before[1].volume, epoch=9), 1)
    after = store.list_volumes()
    assert [old is new for old, new in zip(before, after, strict=True)] == [True, False, True]
    assert store.list_volumes() is after
    assert store.list_nodes() is nodes


def test_one_damaged_node_hides_no_other_record(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    for name in ("a", "b"):
        store.add_node(Node(name, f"{name}:1", "10.0.0.1"))
    change(tmp_path, "UPDATE named SET record = 'nonsense' WHERE name = 'a'")
    assert store.get_node("b").name == "b"
    with pytest.raises(DataLoss, match=r"record of node a in .*is damaged"):
        store.list_nodes()


def test_a_swap_does_not_fail_for_want_of_events(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path)
    first = store.add_volume(volume())
    change(tmp_path, "DROP TABLE events")
    swapped = store.swap_volume(replace(first.volume, epoch=9), 1, (Event(1.0, "v0", "kind", "x"),))
    assert open_sqlite(tmp_path).get_volume("v0") == swapped


def test_a_writer_waits_for_those_of_its_own_process_and_then_says_so(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path, busy_seconds=0.05)
    with store._writing(), pytest.raises(Unavailable, match="locked by another thread: try again"):
        store.add_volume(volume())
    assert store.add_volume(volume()).version == 1


def test_what_was_cut_short_is_found_though_the_list_is_remembered(tmp_path: Path) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    store, other = open_sqlite(tmp_path), open_sqlite(tmp_path)
    control = build_control(store, fakes.connect, SystemClock())
    fakes.add_to(control)
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    reconciler = Reconciler(control, SystemClock())
    reconciler.run_once()
    reconciler.run_once()
    begun = other.get_volume(made.id)
    other.swap_volume(begin_attach(begun.volume, "a"), begun.version)
    reconciler.run_once()
    assert store.get_volume(made.id).volume.attachment is Attachment.DETACHED
    assert "interrupted" in {event.kind for event in control.events.list(made.id)}


def test_what_is_told_of_a_change_is_in_the_order_in_which_it_happened(tmp_path: Path) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    control = build_control(open_sqlite(tmp_path), fakes.connect, SystemClock())
    fakes.add_to(control)
    made = control.volumes.create(VolumeRequest("data", GIB, "nvme"))
    control.volumes.attach(made.id, "a")
    control.volumes.detach(made.id)
    control.volumes.delete(made.id)
    kinds = [event.kind for event in control.events.list(made.id) if event.kind != "not-bounded"]
    assert kinds == ["deleted", "detached", "attached", "created"]
