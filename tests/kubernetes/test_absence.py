"""The API server is slow, away, or has started again; watches break and what they missed is forgotten."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.events import Events
from replication.control.records import Records
from replication.control.store.kubernetes import KubernetesStore
from replication.errors import Unavailable
from tests.kubernetes.conftest import OpenStore
from tests.kubernetes.patience import CLOCK, patiently, wait_for
from tests.kubernetes.proxy import Proxy
from tests.unit.control.records import volume


@pytest.fixture
def proxy(plane: ControlPlane) -> Iterator[Proxy]:
    with Proxy(plane.address) as running:
        yield running


def wait_for_epochs(store: KubernetesStore, epochs: list[int]) -> None:
    wait_for(lambda: [found.volume.epoch for found in store.list_volumes()], epochs)


def restart(plane: ControlPlane) -> None:
    plane.apiserver.start()
    plane.wait_ready()


def test_what_another_controller_writes_comes_into_the_list(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    assert one.list_volumes() == ()
    first = other.add_volume(volume())
    wait_for_epochs(one, [1])
    other.swap_volume(replace(first.volume, epoch=2), 1)
    wait_for_epochs(one, [2])
    other.remove_volume("v0", 2)
    wait_for_epochs(one, [])


def test_a_watch_that_broke_goes_on_where_it_was(open_store: OpenStore, proxy: Proxy) -> None:
    one, other = open_store(proxy.server), open_store()
    first = other.add_volume(volume())
    wait_for_epochs(one, [1])
    proxy.cut()
    other.swap_volume(replace(first.volume, epoch=2), 1)
    other.add_volume(volume(id="v1", name="more", epoch=7))
    assert [found.volume.epoch for found in one.list_volumes()] == [1]
    proxy.mend()
    wait_for_epochs(one, [2, 7])


def test_what_the_server_has_forgotten_is_listed_anew(
    open_store: OpenStore, proxy: Proxy, plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = open_store(proxy.server), open_store()
    first = other.add_volume(volume())
    other.add_volume(volume(id="v1", name="gone", epoch=7))
    wait_for_epochs(one, [1, 7])
    proxy.cut()
    other.swap_volume(replace(first.volume, epoch=2), 1)
    other.remove_volume("v1", 1)
    plane.apiserver.end()
    plane.compact()
    restart(plane)
    proxy.mend()
    with caplog.at_level("INFO", "replication.kubernetes.watched"):
        wait_for_epochs(one, [2])
    assert "/volumes: listed anew" in caplog.text


def test_a_slow_server_is_waited_for(open_store: OpenStore, proxy: Proxy) -> None:
    store = open_store(proxy.server)
    first = store.add_volume(volume())
    proxy.delay = 1.0
    assert store.swap_volume(replace(first.volume, epoch=2), 1).version == 2


def test_a_swap_whose_answer_is_lost_is_found_done(open_store: OpenStore, proxy: Proxy) -> None:
    store = open_store(proxy.server)
    records = Records(store, CLOCK, Events(store, CLOCK))
    store.add_volume(volume())
    proxy.lose_answers()
    with pytest.raises(Unavailable):
        store.swap_volume(replace(volume(), epoch=2), 1)
    proxy.mend()
    assert records.change("v0", lambda found: replace(found, epoch=2)).version == 2


def test_a_server_that_is_too_slow_is_unavailable_and_the_swap_is_made_once(
    open_store: OpenStore, proxy: Proxy
) -> None:
    store = open_store(proxy.server, answer_seconds=1.0)
    records = Records(store, CLOCK, Events(store, CLOCK))
    store.add_volume(volume())
    proxy.delay = 3.0
    with pytest.raises(Unavailable, match="does not answer"):
        store.swap_volume(replace(volume(), epoch=2), 1)
    proxy.mend()
    assert records.change("v0", lambda found: replace(found, epoch=2)).version == 2


def test_while_the_server_is_away_nothing_is_said_and_afterwards_all_goes_on(
    store: KubernetesStore, plane: ControlPlane
) -> None:
    first = store.add_volume(volume())
    assert store.list_volumes() == (first,)
    with store.lock("v0", "attach"):
        plane.apiserver.end()
        with pytest.raises(Unavailable):
            store.get_volume("v0")
        with pytest.raises(Unavailable):
            store.swap_volume(volume(epoch=2), 1)
        wait_until(lambda: is_silent(store), "the list is old", timeout=60, clock=CLOCK)
        restart(plane)
        assert patiently(lambda: store.swap_volume(volume(epoch=2), 1)).version == 2
    wait_for_epochs(store, [2])
    with store.lock("v0", "detach"):
        assert store.get_volume("v0").version == 2


def is_silent(store: KubernetesStore) -> bool:
    try:
        store.list_volumes()
    except Unavailable:
        return True
    return False


def test_a_server_that_hangs_is_unavailable(open_store: OpenStore, plane: ControlPlane) -> None:
    open_store().add_volume(volume())
    store = open_store(answer_seconds=1.0)
    assert patiently(lambda: store.get_volume("v0")).version == 1
    plane.apiserver.pause()
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            store.get_volume("v0")
    finally:
        plane.apiserver.resume()
    assert patiently(lambda: store.get_volume("v0")).version == 1
