"""Locks between controllers: they end with their holder, and a holder that lost one is told."""

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from hack.kubernetes.plane import ControlPlane
from replication.clock import SystemClock
from replication.control.store.kubernetes import KubernetesStore
from replication.errors import Conflict
from replication.kubernetes.access import read_kubeconfig
from replication.kubernetes.client import Client
from tests.kubernetes.conftest import ACCOUNT, LOCK_SECONDS, NAMESPACE, OpenStore
from tests.kubernetes.proxy import Proxy
from tests.unit.control.records import volume

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
PATIENCE = 10 * LOCK_SECONDS


def test_controllers_exclude_each_other(open_store: OpenStore, admin: Client) -> None:
    one, other = open_store(), open_store()
    with (
        one.lock("v0", "attach to b"),
        pytest.raises(Conflict, match=r"attach to b.* under way on v0"),
        other.lock("v0", "delete"),
    ):
        pass
    with other.lock("v0", "delete"):
        pass
    assert admin.get(LEASES)["items"] == []


def test_a_lock_is_held_for_as_long_as_its_holder_works(open_store: OpenStore) -> None:
    one, other = open_store(), open_store()
    with (
        one.lock("v0", "copy"),
        pytest.raises(Conflict),
        other.lock("v0", "delete", timeout=3 * LOCK_SECONDS),
    ):
        pass


def _die_holding(kubeconfig: str) -> None:
    client = Client(read_kubeconfig(Path(kubeconfig)))
    store = KubernetesStore(client, "cluster", SystemClock(), "elsewhere", LOCK_SECONDS)
    with store.lock("v0", "attach"):
        os._exit(3)


def test_a_lock_ends_with_its_holder(open_store: OpenStore, plane: ControlPlane, admin: Client) -> None:
    store, kubeconfig = open_store(), str(plane.kubeconfig(ACCOUNT))
    process = multiprocessing.get_context("spawn").Process(target=_die_holding, args=(kubeconfig,))
    process.start()
    process.join()
    assert process.exitcode == 3
    assert len(admin.get(LEASES)["items"]) == 1
    with pytest.raises(Conflict, match="attach"), store.lock("v0", "delete"):
        pass
    with store.lock("v0", "delete", timeout=PATIENCE):
        pass


def test_a_holder_that_was_cut_off_for_too_long_writes_nothing_more(
    open_store: OpenStore, plane: ControlPlane, admin: Client
) -> None:
    other = open_store()
    other.add_volume(volume())
    with Proxy(plane.address) as proxy:
        one = open_store(proxy.server)
        with one.lock("v0", "attach to b"):
            proxy.cut()
            with other.lock("v0", "delete", timeout=PATIENCE):
                proxy.mend()
                with pytest.raises(Conflict, match="another process has taken the operation on v0 over"):
                    one.swap_volume(volume(epoch=2), 1)
                lost_a_replica = threading.Thread(target=one.swap_volume, args=(volume(lost_since=1.0), 1))
                lost_a_replica.start()
                lost_a_replica.join()
                assert other.get_volume("v0").volume == volume(lost_since=1.0)
                (lease,) = admin.get(LEASES)["items"]
            assert lease["metadata"]["annotations"]["trilith.io/operation"] == "delete"
        assert admin.get(LEASES)["items"] == []


def test_a_holder_that_let_go_late_leaves_the_next_ones_lock(
    open_store: OpenStore, plane: ControlPlane
) -> None:
    other, third = open_store(), open_store()
    with Proxy(plane.address) as proxy:
        one = open_store(proxy.server)
        late = one.lock("v0", "attach")
        late.__enter__()
        proxy.cut()
        with other.lock("v0", "delete", timeout=PATIENCE):
            proxy.mend()
            late.__exit__(None, None, None)
            with pytest.raises(Conflict, match="delete"), third.lock("v0", "expand"):
                pass
