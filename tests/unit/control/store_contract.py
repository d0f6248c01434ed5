"""What every store does, whatever keeps its records: the tests of each kind of store inherit these."""

import threading
from dataclasses import replace

import pytest

from replication.control.cordons import Cordon
from replication.control.insync import lose
from replication.control.settings import CLUSTER, Settings
from replication.control.store.base import Event, Store
from replication.errors import AlreadyExists, Conflict, NotFound
from replication.model import Node, Pool
from tests.unit.control.records import volume


class StoreContract:
    """Its heir has a fixture `store`."""

    def test_a_record_is_swapped_by_whoever_read_it_last(self, store: Store) -> None:
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

    def test_names_and_ids_are_taken_once(self, store: Store) -> None:
        store.add_volume(volume())
        for taken in (replace(volume(), name="other"), replace(volume(), id="v1")):
            with pytest.raises(AlreadyExists):
                store.add_volume(taken)
        other = store.add_volume(replace(volume(), id="v1", name="aaa"))
        assert store.find_volume("aaa") == other
        assert store.find_volume("zzz") is None
        assert [found.volume.name for found in store.list_volumes()] == ["aaa", "data"]

    def test_a_page_of_volumes_goes_on_where_the_last_one_ended_even_if_that_is_gone(
        self, store: Store
    ) -> None:
        for number in (3, 1, 2, 5):
            store.add_volume(replace(volume(), id=f"v{number}", name=f"name-{9 - number}"))
        assert [found.volume.id for found in store.list_volumes_after("", 2)] == ["v1", "v2"]
        store.remove_volume("v2", 1)
        store.add_volume(replace(volume(), id="v4", name="late"))
        assert [found.volume.id for found in store.list_volumes_after("v2", 9)] == ["v3", "v4", "v5"]

    def test_of_many_writers_one_wins_each_time(self, store: Store) -> None:
        store.add_volume(volume())
        won: list[int] = []

        def write(number: int) -> None:
            for version in range(1, 11):
                try:
                    store.swap_volume(replace(volume(), lost_since=float(number)), version)
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

    def test_nodes_and_pools_are_kept_by_name(self, store: Store) -> None:
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

    def test_settings_are_empty_until_they_are_put(self, store: Store) -> None:
        assert store.get_settings("nvme") == Settings("nvme")
        for delay in (1.0, 2.0):
            store.put_settings(Settings("nvme", replacement_delay=delay))
        assert store.get_settings("nvme") == Settings("nvme", replacement_delay=2.0)
        assert store.get_settings(CLUSTER) == Settings()

    def test_cordons_are_put_replaced_and_removed(self, store: Store) -> None:
        disk = Cordon("a/vg", disk="/dev/nvme0n1")
        for cordon in (Cordon("b"), disk, Cordon("b", draining=True)):
            store.put_cordon(cordon)
        assert store.list_cordons() == (disk, Cordon("b", draining=True))
        store.remove_cordon("b")
        store.remove_cordon("b")
        assert store.list_cordons() == (disk,)

    def test_the_newest_event_comes_first(self, store: Store) -> None:
        for number in range(30):
            store.add_event(Event(float(number), "v0" if number % 2 else "v1", "kind", str(number)))
        assert [event.message for event in store.list_events(None, 2)] == ["29", "28"]
        assert store.list_events("v1", 1) == (Event(28.0, "v1", "kind", "28"),)

    def test_one_operation_at_a_time(self, store: Store) -> None:
        with store.lock("v0", "attach to b"):
            with pytest.raises(Conflict, match=r"attach to b.* under way on v0"), store.lock("v0", "delete"):
                pass
            with store.lock("v1", "delete"):
                pass
        with store.lock("v0", "delete", timeout=1.0):
            pass

    @pytest.mark.parametrize("key", ["ä" * 128, "\udcff/..", "x" * 300])
    def test_any_key_can_be_locked(self, store: Store, key: str) -> None:
        with store.lock(key, "delete"), pytest.raises(Conflict), store.lock(key, "attach"):
            pass

    def test_waiting_for_a_lock_ends_when_it_is_free(self, store: Store) -> None:
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

    def test_events_are_kept_with_the_change_that_they_tell_of(self, store: Store) -> None:
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
