"""Reports wait for those of their own node at most."""

import threading

from replication.clock import SystemClock
from replication.control.reporting import Inbox
from replication.errors import Unavailable
from replication.model import ArrayReport
from tests.fakes.clock import HandClock


def report(volume_id: str) -> ArrayReport:
    return ArrayReport(volume_id, 1, 1, (), resync_done=True)


def test_a_node_that_falls_silent_keeps_no_other_nodes_writes_waiting() -> None:
    """Each of its arrays keeps a thread until the call to it is given up."""
    heard, given_up = threading.Event(), threading.Event()

    def handle(node: str, _: ArrayReport) -> None:
        if node == "well":
            heard.set()
            return
        given_up.wait(60)
        raise Unavailable("it does not answer")

    inbox = Inbox(handle, SystemClock())
    inbox.start()
    for number in range(50):
        inbox.put("away", report(f"v{number}"))
    inbox.put("well", report("v"))
    assert heard.wait(20)
    inbox.close()
    given_up.set()


def test_of_a_node_that_has_not_answered_one_array_is_tried_at_a_time() -> None:
    """Else those that are tried again would always be first."""
    inbox = Inbox(lambda *_: None, HandClock())
    for number in range(3):
        inbox.put("away", report(f"v{number}"))
    inbox.put("well", report("v"))
    assert take(inbox) == ("away", "v0")
    inbox._put_back(("away", "v0"), report("v0"))
    inbox._release(("away", "v0"), silent=True)
    assert [take(inbox), take(inbox)] == [("away", "v1"), ("well", "v")]
    inbox._release(("away", "v1"), silent=False)
    assert [take(inbox), take(inbox)] == [("away", "v2"), ("away", "v0")]


def take(inbox: Inbox) -> tuple[str, str]:
    found = inbox._take()
    assert found is not None
    return found[0]
