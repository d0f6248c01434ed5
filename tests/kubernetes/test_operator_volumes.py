"""The statuses of Volumes, in a real API server: told again only when they differ, and not too often."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi.operator.conditions import READY, Condition
from csi.operator.statuses import Statuses
from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.store.kubernetes import KubernetesStore
from replication.control.store.resources import VOLUMES
from replication.control.volumes import VolumeRequest
from replication.kubernetes.access import Json, read_kubeconfig
from replication.kubernetes.client import Client
from replication.model import GIB, MemberHealth
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import ACCOUNT, OpenStore
from tests.kubernetes.controllers import running
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.proxy import Proxy
from tests.unit.control.records import volume

USABLE = Condition(READY, True, "Usable", "reads and writes are answered")


def status_of(admin: Client, volume_id: str) -> Json:
    found: Json = admin.get(f"{VOLUMES}/{volume_id}").get("status") or {}
    return found


def health_of(admin: Client, volume_id: str) -> str:
    return str(status_of(admin, volume_id).get("health", ""))


def test_a_volume_tells_which_replica_is_missing_and_what_becomes_of_it(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "1.sock") as replica:
        wait_until(lambda: replica.controller.leads, "a leader", timeout=60, clock=CLOCK)
        fakes.add_to(replica.control)
        made = replica.control.volumes.create(VolumeRequest("data", GIB, "nvme"))
        replica.control.volumes.attach(made.id, "a")
        wait_for(lambda: health_of(admin, made.id), "Healthy")
        record = admin.get(f"{VOLUMES}/{made.id}")["spec"]

        lost = next(r for r in made.replicas if r.node == "b")
        fakes.node("b").silent = True
        fakes.node("a").set_health(made.id, lost.id, MemberHealth.LOST)
        wait_for(lambda: health_of(admin, made.id), "Degraded")
        told = status_of(admin, made.id)
        assert (told["inSync"], told["replicas"][1]["state"], told["replicas"][1]["node"]) == (
            "2/3",
            "Stale",
            "b",
        )
        assert told["doing"].endswith("is brought back when its node answers, or replaced after 600 s")
        redundant = next(each for each in told["conditions"] if each["type"] == "Redundant")
        assert redundant["message"].startswith(f"replica {lost.id} on node b is stale (its record is of ")

        fakes.node("b").silent = False
        wait_until(lambda: bool(fakes.node("a").rejoined), "brought back", timeout=60, clock=CLOCK)
        wait_for(lambda: status_of(admin, made.id)["replicas"][1]["state"], "Rebuilding")
        fakes.node("a").set_health(made.id, lost.id, MemberHealth.RECOVERED)
        wait_for(lambda: health_of(admin, made.id), "Healthy")
        assert "doing" not in status_of(admin, made.id)
        after = admin.get(f"{VOLUMES}/{made.id}")["spec"]
        assert (after["epoch"], after["name"]) == (record["epoch"], "data")


def test_a_volume_that_is_deleted_by_hand_is_used_until_its_replicas_are_removed(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "1.sock") as replica:
        fakes.add_to(replica.control)
        volumes = replica.control.volumes
        made = volumes.create(VolumeRequest("data", GIB, "nvme"))
        admin.delete(f"{VOLUMES}/{made.id}")
        volumes.attach(made.id, "a")
        volumes.detach(made.id)
        assert "deletionTimestamp" in admin.get(f"{VOLUMES}/{made.id}")["metadata"]
        assert replicas_on(fakes) == {name: [made.id] for name in "abc"}
        volumes.delete(made.id)
        assert replicas_on(fakes) == {}
        assert admin.get(VOLUMES)["items"] == []


def test_without_its_finalizer_a_record_is_given_up_and_what_was_attached_is_left_to_people(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    """The documented way out."""
    fakes = FakeCluster(["a", "b", "c"])
    with running(plane, fakes, tmp_path / "1.sock") as replica:
        fakes.add_to(replica.control)
        volumes = replica.control.volumes
        unused, used = (volumes.create(VolumeRequest(name, GIB, "nvme")) for name in ("unused", "used"))
        volumes.attach(used.id, "a")
        volumes.detach(used.id)
        for each in (unused, used):
            admin.delete(f"{VOLUMES}/{each.id}")
            admin.patch(f"{VOLUMES}/{each.id}", [{"op": "remove", "path": "/metadata/finalizers"}])
        assert admin.get(VOLUMES)["items"] == []
        wait_for(lambda: replicas_on(fakes), {name: [used.id] for name in "abc"})
        listed = replica.control.doctor.examine().findings
        assert {each.node for each in listed if each.problem == "no record knows its volume"} == set("abc")


def replicas_on(fakes: FakeCluster) -> dict[str, list[str]]:
    """By node, of which volumes."""
    return {name: sorted(v for v, _ in node.replicas) for name, node in fakes.nodes.items() if node.replicas}


@pytest.fixture
def statuses(plane: ControlPlane, store: KubernetesStore) -> Iterator[Statuses]:
    """That are written; by way of `store` there are volumes v0 to v2."""
    for number in range(3):
        store.add_volume(volume(id=f"v{number}", name=f"data-{number}"))
    client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT)))
    found, stop = Statuses(client, CLOCK, per_second=5.0), threading.Event()
    thread = threading.Thread(target=found.run, args=(stop,))
    thread.start()
    yield found
    stop.set()
    thread.join()
    client.close()


def path(number: int) -> str:
    return f"{VOLUMES}/v{number}"


def test_a_status_is_written_once_and_leaves_the_record_as_it_is(statuses: Statuses, admin: Client) -> None:
    before = admin.get(path(0))
    statuses.offer(path(0), {"health": "Healthy"}, [USABLE])
    assert statuses.flush(30.0)
    written = admin.get(path(0))
    assert (written["spec"], written["metadata"]["generation"]) == (
        before["spec"],
        before["metadata"]["generation"],
    )
    assert written["status"]["health"] == "Healthy"
    statuses.offer(path(0), {"health": "Healthy"}, [USABLE])
    assert statuses.flush(30.0)
    assert admin.get(path(0))["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]


def test_only_the_newest_of_many_statuses_is_written_and_a_bound_holds(
    statuses: Statuses, admin: Client
) -> None:
    began = CLOCK.now()
    for step in range(100):
        for number in range(3):
            statuses.offer(path(number), {"inSync": f"{step}/100"}, [USABLE], urgent=number != 0)
    assert statuses.flush(60.0)
    assert [admin.get(path(number))["status"]["inSync"] for number in range(3)] == ["99/100"] * 3
    assert CLOCK.now() - began < 10.0  # 300 would have taken a minute


def test_what_was_there_before_is_not_written_again(statuses: Statuses, admin: Client) -> None:
    statuses.offer(path(0), {"health": "Healthy"}, [USABLE])
    assert statuses.flush(30.0)
    known = admin.get(path(0))
    client_of_the_next_leader = statuses._client
    later = Statuses(client_of_the_next_leader, CLOCK)
    later.learn(path(0), known["status"], "u1")
    later.offer(path(0), {"health": "Healthy"}, [USABLE])
    assert later.flush(0.0)
    later.learn(path(0), {}, "u2")
    later.offer(path(0), {"health": "Healthy"}, [USABLE])
    assert not later.flush(0.0), "another of that name was told nothing yet"


def test_a_status_that_the_server_refuses_is_in_nobodys_way(statuses: Statuses, admin: Client) -> None:
    statuses.offer(path(0), {"health": "Splendid"}, [USABLE])
    statuses.offer(path(1), {"health": "Healthy"}, [USABLE], urgent=False)
    assert statuses.flush(30.0)
    assert [health_of(admin, f"v{number}") for number in (0, 1)] == ["", "Healthy"]


def test_nor_is_one_that_fails_for_ever(statuses: Statuses, admin: Client) -> None:
    """As where a policy forbids it, or the account may not write it."""
    forbidden = "/api/v1/namespaces/kube-system"
    statuses.offer(forbidden, {"phase": "Active"}, [])
    statuses.offer(path(1), {"health": "Healthy"}, [USABLE], urgent=False)
    wait_for(lambda: health_of(admin, "v1"), "Healthy")
    assert not statuses.flush(0.0), "it is tried again"


def test_a_volume_that_has_gone_is_let_go(statuses: Statuses, store: KubernetesStore) -> None:
    store.remove_volume("v1", 1)
    statuses.offer(path(1), {"health": "Healthy"}, [USABLE])
    assert statuses.flush(30.0)


def test_while_the_server_is_away_the_newest_status_waits(
    plane: ControlPlane, open_store: OpenStore, admin: Client
) -> None:
    open_store().add_volume(volume())
    with Proxy(plane.address) as proxy:
        client = Client(read_kubeconfig(plane.kubeconfig(ACCOUNT, server=proxy.server)), answer_seconds=1.0)
        found, stop = Statuses(client, CLOCK), threading.Event()
        thread = threading.Thread(target=found.run, args=(stop,))
        thread.start()
        proxy.cut()
        found.offer(path(0), {"health": "Degraded"}, [USABLE])
        assert not found.flush(3.0)
        found.offer(path(0), {"health": "Lost"}, [USABLE])
        proxy.mend()
        assert found.flush(30.0)
        stop.set()
        thread.join()
        client.close()
    assert status_of(admin, "v0")["health"] == "Lost"
