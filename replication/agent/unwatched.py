"""Members that nobody watches yet.

A hold layer keeps what its path cannot do until the record has changed. The watcher reports lost members, but
only of arrays that are there. While an array is put together, or a member is about to return, our own reads
would wait behind a path that fails for ever, with the locks that we have; and the kernel tries them again all
the time (process_queued_bios in drivers/md/dm-mpath.c), so that a processor is lost as well.

And who is killed while it waits for a read ends only with that: until then no other agent begins, which could
let go what this node's arrays hold. So our own reads are not held at all: `unheld`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType

from replication.agent.machine import Machine
from replication.agent.members import Joint
from replication.agent.release import break_off
from replication.errors import TrilithError, Unavailable

SECONDS = 20.0
"""Ten times what it takes to put an array together where processors are emulated and busy."""

PATIENCE = 5  # seconds, for a connection that is lost while something is read through it


class Unwatched:
    """`with Unwatched(machine, joints)`: what waits for a member there fails after SECONDS.

    Nobody has been given a device with these members in it: no acknowledgement depends on them.
    """

    def __init__(self, machine: Machine, joints: Sequence[Joint]) -> None:
        self._machine = machine
        self._joints = joints
        self._deciding = threading.Lock()
        self._over = self._broken = False
        self._timer = threading.Timer(SECONDS, self._break_all_off)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unavailable when the members were broken off, and it went well all the same."""
        self._timer.cancel()
        with self._deciding:
            self._over = True
        if self._broken and kind is None:
            named = ", ".join(joint.replica_id for joint in self._joints)
            raise Unavailable(f"replicas {named} did not answer within {SECONDS:g} s: they were let go")

    def _break_all_off(self) -> None:
        with self._deciding:
            if self._over:
                return
            self._broken = True
            for joint in self._joints:
                with suppress(TrilithError):
                    self._machine.holds.release(joint.hold)
                break_off(self._machine, joint)


@contextmanager
def unheld(machine: Machine, joints: Sequence[Joint]) -> Iterator[None]:
    """What is read of a member meanwhile fails when its path is lost.

    No array has them. What comes after it is held; where it went wrong they are to be removed.
    """
    for joint in joints:
        machine.holds.release(joint.hold)
        if joint.remote is not None:
            machine.host.hold_for(joint.remote.controller, PATIENCE)
    yield
    for joint in joints:
        if joint.remote is not None:
            machine.host.hold_for(joint.remote.controller, -1)
        machine.holds.hold(joint.hold)
