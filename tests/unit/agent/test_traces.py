"""What is told to be removed late, when something else is there by now, stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from replication.agent.members import Members
from replication.agent.names import HoldName
from replication.agent.replicas import Replicas
from replication.agent.storage import Storage
from replication.agent.traces import Traces, parse_device
from replication.errors import FailedPrecondition, StaleEpoch
from replication.kernel.mounts import parse_mountinfo
from replication.traces import Trace, TraceKind
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_tree import FakeTree

VOLUME, OTHER = "v00000000000000aa", "v00000000000000bb"
POD, BLOCK, STALE = (
    f"40 1 9:127 / /pod rw - ext4 /dev/md_{VOLUME} rw",
    f"41 1 0:6 /md_{VOLUME} /block rw - devtmpfs devtmpfs rw",
    f"42 1 0:6 /md_{VOLUME}//deleted /stale rw - devtmpfs devtmpfs rw",
)
ELSE = "43 1 8:1 / /else rw - ext4 /dev/sda1 rw"


class Held:
    """Of Members only what tells which attachment is here."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def find_holds(self, volume_id: str) -> Iterator[tuple[HoldName, None]]:
        if self._epoch:
            yield HoldName(volume_id, "r0", self._epoch), None


def traces(root: Path, *mounts: str, epoch: int) -> Traces:
    tree = FakeTree(root)
    tree.lay({"/proc/self/mountinfo": "\n".join(mounts)})
    members = cast("Members", Held(epoch))
    return Traces(fake_machine(tree), cast("Storage", None), cast("Replicas", None), members)


@pytest.mark.parametrize(("line", "found"), [(POD, VOLUME), (BLOCK, VOLUME), (STALE, VOLUME), (ELSE, "")])
def test_the_volume_behind_a_mount_is_known_also_when_its_device_is_gone(line: str, found: str) -> None:
    (mount,) = parse_mountinfo(line)
    assert parse_device(mount) == found


def test_a_path_that_shows_something_else_by_now_stays(tmp_path: Path) -> None:
    there = traces(tmp_path, POD, epoch=0)
    with pytest.raises(FailedPrecondition, match="something else by now"):
        there.remove(Trace(TraceKind.MOUNT, "/pod", OTHER))
    there.remove(Trace(TraceKind.MOUNT, "/gone", OTHER))


@pytest.mark.parametrize("kind", [TraceKind.MOUNT, TraceKind.LIMIT, TraceKind.ARRAY])
def test_what_an_attachment_made_since_has_stays(tmp_path: Path, kind: TraceKind) -> None:
    with pytest.raises(StaleEpoch, match="attached anew"):
        traces(tmp_path, POD, epoch=4).remove(Trace(kind, "/pod", VOLUME, epoch=3))
