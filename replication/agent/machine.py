"""What the agent works with: the node it is, and one handle for each part of the kernel."""

from dataclasses import dataclass

from replication.clock import Clock
from replication.kernel.apart import Apart
from replication.kernel.deadline import Blocking
from replication.kernel.hold import HoldLayer
from replication.kernel.nvme import NvmeHost
from replication.kernel.nvmet import Nvmet
from replication.kernel.refusals import Refusals
from replication.kernel.run import Runner
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes


@dataclass(frozen=True, slots=True)
class Machine:
    """Passed to every part of the agent, so that a test can put a tree and a runner of its own here."""

    node: str
    cluster: str
    boot_id: str
    data_address: str
    data_port: int
    authentication: bool
    tree: Tree
    runner: Runner
    clock: Clock
    blocking: Blocking
    apart: Apart
    holds: HoldLayer
    wholes: Wholes
    host: NvmeHost
    target: Nvmet
    refusals: Refusals

    @property
    def boot(self) -> str:
        """The part of the boot's id that names carry."""
        return self.boot_id.replace("-", "")[:8]
