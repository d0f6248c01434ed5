"""Calls that change something: each goes on to its end, whether its caller waits for it or not.

A caller whose deadline is over, or who hangs up, leaves; who asks for the very same again joins what is
under way, and gets its outcome. So an orchestrator that is less patient than a slow node never finds the
half of something, and never has two of one thing under way. Anything else on the same volume waits for its
lock, or is told with ABORTED what is under way.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import grpc
from google.protobuf.message import Message

from replication.errors import TimedOut

JOINED = frozenset(
    {
        "CreateVolume",
        "DeleteVolume",
        "ControllerPublishVolume",
        "ControllerUnpublishVolume",
        "ControllerExpandVolume",
        "ControllerModifyVolume",
        "NodeStageVolume",
        "NodeUnstageVolume",
        "NodePublishVolume",
        "NodeUnpublishVolume",
        "NodeExpandVolume",
    }
)

LONGEST = 86400.0  # gRPC tells a caller without a deadline by more seconds than a wait can take

Key = tuple[str, bytes]


class Operations:
    """What is under way in this process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._running: dict[Key, Future[object]] = {}

    def run(
        self, method: str, request: Message, context: grpc.ServicerContext, act: Callable[[], object]
    ) -> object:
        """What `act` returns or raises, begun now or by an earlier caller; TimedOut when this one is gone."""
        future = self._find_or_start((method, _meaning(request)), act)
        _wait(future, context)
        if not future.done():
            raise TimedOut(f"{method}: still under way; a repeat of the call joins it")
        return future.result()

    def _find_or_start(self, key: Key, act: Callable[[], object]) -> "Future[object]":
        with self._mutex:
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = Future()
                threading.Thread(target=self._do, args=(key, future, act), name=key[0], daemon=True).start()
            return future

    def _do(self, key: Key, future: "Future[object]", act: Callable[[], object]) -> None:
        try:
            result = act()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._forget(key)
            future.set_exception(error)
        else:
            self._forget(key)
            future.set_result(result)

    def _forget(self, key: Key) -> None:
        """Before anybody is told: who asks after that asks for something new."""
        with self._mutex:
            del self._running[key]


def _wait(future: "Future[object]", context: grpc.ServicerContext) -> None:
    """Until it is done, or until the caller is."""
    woken = threading.Event()
    future.add_done_callback(lambda _: woken.set())
    if context.add_callback(woken.set):
        woken.wait(min(context.time_remaining() or 0.0, LONGEST))


def _meaning(request: Message) -> bytes:
    """Secrets change nothing, and are kept nowhere."""
    bare = type(request)()
    bare.CopyFrom(request)
    if "secrets" in request.DESCRIPTOR.fields_by_name:
        bare.ClearField("secrets")
    return bare.SerializeToString(deterministic=True)
