"""What is asked through the client arrives at the NodeApi, and its answers and errors come back."""

import inspect
import logging
import threading
from typing import Any

import pytest

from replication import errors, model
from replication.clock import SystemClock, wait_until
from replication.errors import Conflict, TimedOut, TrilithError, Unavailable
from replication.peer import Peer
from replication.pki import CertificateAuthority, Identity, Role
from replication.rpc.client import NodeClient
from replication.rpc.contract import NodeApi
from replication.rpc.server import Server, serve_node
from replication.rpc.service import LISTENERS
from replication.tuning import Tuning
from tests.contract.pretender import (
    AILMENT,
    ARRAY,
    FACTS,
    GROUP,
    PREPARED,
    REPLICA,
    TARGET,
    TRACE,
    USAGE,
    VERDICT,
    Pretender,
)

REJOIN = model.RejoinSpec("v1", 3, 7, model.Member("r1", TARGET), model.CopyMode.BITMAP)
CALLS: list[tuple[tuple[Any, ...], object]] = [
    (("describe", None), FACTS),
    (("describe", ""), FACTS),
    (("describe", "v0"), FACTS),
    (("ensure_disk_pool", "fast", ("/dev/sda", "/dev/sdb")), (GROUP,)),
    (("remove_disk_pool", "fast"), None),
    (("remove_disk", "tri-1"), None),
    (("ensure_replica", model.ReplicaSpec("v1", "r0", "tri-1", model.GIB, 64 * 1024)), REPLICA),
    (("remove_replica", "v1", "r0", None), None),
    (("remove_replica", "v1", "r0", 0), None),
    (("remove_replica", "v1", "r0", 7), None),
    (("resize_replica", "v1", "r0", 2**40), REPLICA),
    (("prepare_replica", model.PrepareSpec("v1", "r0", 3, 7, model.Consumer("nqn.h", "hk", "ck"))), PREPARED),
    (("prepare_replica", model.PrepareSpec("v1", "r0", 3, 7, None)), PREPARED),
    (("release_replica", "v1", "r0", 3), None),
    (
        (
            "attach",
            model.AttachSpec(
                "v1",
                3,
                7,
                model.GIB,
                65536,
                2,
                (model.Member("r0", None), model.Member("r1", TARGET)),
                resync=True,
                marked_from=2**40,
            ),
        ),
        "/dev/md/v1",
    ),
    (("detach", "v1", 3), None),
    (("abandon", "v1", 3), None),
    (("confirm", model.Confirmation("v1", 3, 7, ("r0", "r1"), ("r2",), 11, (6,))), ARRAY),
    (("rejoin", REJOIN), None),
    (("grow_array", "v1", 3, 2**40), None),
    (("tune", "v1", 3, Tuning(4, 2**40, 2.5)), None),
    (("scrub", "v1", 3, True), None),
    (("set_limits", "v1", 3, model.Limits("basic", 1, 2, 2**40, 2**41)), None),
    (("stage", model.StageSpec("v1", "/stage", model.AccessType.MOUNT, "xfs", ("noatime",))), None),
    (("unstage", "v1", "/stage"), None),
    (("publish", model.PublishSpec("v1", "/stage", "/pod", model.AccessType.BLOCK, readonly=True)), None),
    (("unpublish", "v1", "/pod"), None),
    (("measure", "v1", "/pod"), USAGE),
    (("expand_staged", "v1", "/pod", 2**40), 2**40),
    (("examine_volume", "v1", ("/stage", "/pod")), (AILMENT,)),
    (("examine_storage",), (AILMENT,)),
    (("probe", (Peer("b", "b:1", "192.0.2.1"), Peer("c", "c:1", "192.0.2.2"))), (VERDICT,)),
    (("list_traces",), (TRACE,)),
    (("remove_trace", TRACE), None),
]


@pytest.mark.parametrize(
    ("call", "answer"), CALLS, ids=lambda value: value[0] if isinstance(value, tuple) else ""
)
def test_a_call_arrives_as_it_was_made_and_its_answer_comes_back(
    client: NodeClient, pretender: Pretender, call: tuple[Any, ...], answer: object
) -> None:
    pretender.hang.put(None)
    assert getattr(client, call[0])(*call[1:]) == answer
    assert pretender.calls == [call]


def test_the_calls_above_are_all_there_are() -> None:
    methods = {name for name, value in vars(NodeApi).items() if inspect.isfunction(value) and name[0] != "_"}
    assert {call[0] for call, _ in CALLS} | {"watch"} == methods


def test_client_and_pretender_implement_the_contract(client: NodeClient, pretender: Pretender) -> None:
    """For mypy; at run time there is nothing to see."""
    implementations: list[NodeApi] = [client, pretender]
    assert len(implementations) == 2


ERRORS = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, TrilithError) and cls is not errors.CommandFailed
]


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_arrives_as_itself(
    client: NodeClient, pretender: Pretender, cls: type[TrilithError]
) -> None:
    pretender.error = cls("volume v1: what, which and why — in ünïcode,\nand in two lines")
    with pytest.raises(TrilithError) as caught:
        client.detach("v1", 3)
    assert type(caught.value) is cls
    assert str(caught.value) == str(pretender.error)


def test_a_failed_command_arrives_as_a_kernel_error(client: NodeClient, pretender: Pretender) -> None:
    pretender.error = errors.CommandFailed(["mdadm", "--stop"], 1, "busy " * 5000)
    with pytest.raises(errors.KernelError, match=r"^mdadm --stop: exit status 1: busy .* busy$") as caught:
        client.detach("v1", 3)
    assert type(caught.value) is errors.KernelError


def test_what_nobody_foresaw_is_logged_once_and_told_in_short(
    client: NodeClient, pretender: Pretender, caplog: pytest.LogCaptureFixture
) -> None:
    pretender.error = ZeroDivisionError("a bug")
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(TrilithError, match="Detach: ZeroDivisionError: a bug"),
    ):
        client.detach("v1", 3)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is pretender.error


def test_a_foreseen_error_is_not_logged(
    client: NodeClient, pretender: Pretender, caplog: pytest.LogCaptureFixture
) -> None:
    pretender.error = Conflict("try again")
    with caplog.at_level(logging.INFO), pytest.raises(Conflict):
        client.detach("v1", 3)
    assert caplog.records == []


def test_a_call_that_hangs_ends_at_its_deadline_and_blocks_no_other(
    client: NodeClient, pretender: Pretender
) -> None:
    with pytest.raises(TimedOut, match=r"node a at 127\.0\.0\.1:\d+ did not answer in time"):
        client.with_deadline(0.2).rejoin(REJOIN)
    assert client.describe() == FACTS
    assert pretender.calls == [("rejoin", REJOIN), ("describe", None)]  # and no retry
    pretender.hang.put(None)


def test_a_watch_tells_all_at_once_and_then_what_changes(client: NodeClient, pretender: Pretender) -> None:
    stream = client.watch()
    assert next(stream) == ARRAY
    later = model.ArrayReport("v2", 1, 1, (), resync_done=True)
    pretender.listeners.get().put(later)
    assert next(stream) == later


def test_a_watch_raises_what_the_node_raises(client: NodeClient, pretender: Pretender) -> None:
    stream = client.watch()
    next(stream)
    pretender.listeners.get().put(errors.DataLoss("a damaged header"))
    with pytest.raises(errors.DataLoss, match="a damaged header"):
        next(stream)


def test_a_watch_that_the_node_ends_is_unavailable(client: NodeClient, pretender: Pretender) -> None:
    stream = client.watch()
    next(stream)
    pretender.listeners.get().close()
    with pytest.raises(Unavailable, match="ended the stream"):
        next(stream)


def test_a_watch_breaks_when_the_server_stops(client: NodeClient, server: Server) -> None:
    stream = client.watch()
    next(stream)
    server.stop(0)
    with pytest.raises(Unavailable, match="node a at"):
        next(stream)


def test_a_watch_can_be_closed_from_another_thread(client: NodeClient) -> None:
    stream = client.watch()
    next(stream)
    closer = threading.Timer(0.1, stream.close)
    closer.start()
    assert list(stream) == []
    closer.join()


def test_the_node_learns_that_its_listeners_are_gone(client: NodeClient, pretender: Pretender) -> None:
    for _ in range(3 * LISTENERS):
        stream = client.watch()
        next(stream)
        stream.close()
        ended = pretender.listeners.get()
        assert list(ended) == []


def test_listeners_cannot_take_every_thread(client: NodeClient) -> None:
    streams = [client.watch() for _ in range(LISTENERS)]
    for stream in streams:
        next(stream)
    with pytest.raises(Conflict, match="8 listeners watch this node already"):
        next(client.watch())
    assert client.describe() == FACTS


def test_a_node_that_came_back_is_seen_at_once(
    client: NodeClient, server: Server, authority: CertificateAuthority
) -> None:
    client.describe()
    server.stop(0)
    with pytest.raises(Unavailable):
        client.describe()
    again = serve_node(Pretender(), f"127.0.0.1:{server.port}", authority.issue("a", Role.NODE))
    wait_until(lambda: _answers(client), "the node answers again", timeout=2, clock=SystemClock())
    again.stop(0)


def test_a_dead_port_is_unavailable_within_a_second(control: Identity) -> None:
    started = SystemClock().now()
    with (
        NodeClient(model.Node("a", "127.0.0.1:1", ""), control) as client,
        pytest.raises(Unavailable, match=r"node a at 127\.0\.0\.1:1 does not answer"),
    ):
        client.describe()
    assert SystemClock().now() - started < 1


def test_a_closed_client_is_unavailable(client: NodeClient) -> None:
    client.close()
    with pytest.raises(Unavailable, match="closed on this side"):
        client.describe()


def _answers(client: NodeClient) -> bool:
    try:
        client.describe()
    except Unavailable:
        return False
    return True
