from typing import cast

from replication.agent.machine import Machine
from replication.clock import SystemClock
from replication.errors import NotFound
from replication.kernel import direct
from replication.kernel.apart import Apart
from replication.kernel.deadline import Blocking
from replication.kernel.hold import HoldLayer
from replication.kernel.nvme import NvmeHost
from replication.kernel.nvmet import Nvmet
from replication.kernel.refusals import Unheard
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from tests.unit.kernel.fake_md import FakeMd
from tests.unit.kernel.fake_runner import FakeRunner


class Here:
    """What a process apart would do, done in this one."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def flush(self, path: str) -> None:
        direct.flush(path)

    def write(self, path: str, value: str, timeout: float) -> None:
        assert isinstance(self._tree, FakeMd)
        self._tree.write_in_time(path, value, timeout)


def fake_machine(tree: Tree, holds: HoldLayer | None = None) -> Machine:
    """Without NVMe over fabrics; no program may be started."""
    return Machine(
        node="a",
        cluster="lab",
        boot_id="boot",
        data_address="10.0.0.1",
        data_port=4420,
        authentication=True,
        tree=tree,
        runner=FakeRunner({}),
        clock=SystemClock(),
        blocking=Blocking(),
        apart=cast("Apart", Here(tree)),
        holds=cast("HoldLayer", holds),
        wholes=cast("Wholes", None),
        host=cast("NvmeHost", None),
        target=cast("Nvmet", None),
        refusals=Unheard(SystemClock()),
    )


def no_local(volume_id: str, replica_id: str, epoch: int) -> str:
    """No replica is on this node."""
    raise NotFound(f"{volume_id}, {replica_id}, epoch {epoch}")
