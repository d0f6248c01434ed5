"""`trilith-agent`: the program that runs on every node, as root."""

import faulthandler
import logging
import os
import resource
import signal
import threading
from pathlib import Path

import click

from replication.agent.alone import ensure_alone
from replication.agent.machine import Machine
from replication.agent.memory import protect_from_memory_pressure
from replication.agent.names import NQN_PREFIX
from replication.agent.node import Agent
from replication.agent.priority import ensure_priority
from replication.agent.storage import Storage
from replication.agent.udev import quieten_udev
from replication.clock import Clock, SystemClock
from replication.errors import TrilithError, Unsupported
from replication.identities import FolderIdentity
from replication.kernel import modules
from replication.kernel.apart import Apart
from replication.kernel.deadline import Blocking
from replication.kernel.dm import DeviceMapper
from replication.kernel.hold import HoldLayer
from replication.kernel.nvme import NvmeHost
from replication.kernel.nvmet import Nvmet
from replication.kernel.refusals import Refusals, TracedRefusals, Unheard
from replication.kernel.run import run
from replication.kernel.sysfs import Tree
from replication.kernel.wholes import Wholes
from replication.pki import Identity, cluster_of, holder_of
from replication.rpc.server import serve_node
from replication.threads import end_with_any_thread

_log = logging.getLogger("trilith-agent")
_STOP_GRACE = 2.0
_HOW_TO_SET = "put that line into a file of /etc/modprobe.d and boot"


@click.command()
@click.option(
    "--certs", type=click.Path(path_type=Path), required=True, help="Directory of ca.crt, tls.crt, tls.key."
)
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where control planes reach this agent.")
@click.option("--data-address", required=True, metavar="IPV4", help="Address that replicas are exported on.")
@click.option("--data-port", default=4420, show_default=True, help="TCP port that replicas are exported on.")
@click.option(
    "--flush-cgroup",
    type=click.Path(path_type=Path),
    help="Folder of a cgroup for the process that flushes disks; a container's runtime would wait for it "
    "in its own.",
)
@click.option("--verbose", is_flag=True, help="Log every call and every program that is started, too.")
def main(
    *,
    certs: Path,
    listen: str,
    data_address: str,
    data_port: int,
    flush_cgroup: Path | None,
    verbose: bool,
) -> None:
    """Do on this node what the control plane of its cluster says."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        serve(certs, listen, data_address, data_port, flush_cgroup)
    except TrilithError as error:
        raise click.ClickException(str(error)) from error


def serve(
    certs: Path, listen: str, data_address: str, data_port: int, flush_cgroup: Path | None = None
) -> None:
    """Until SIGTERM or SIGINT. What is assembled stays."""
    end_with_any_thread()
    source = FolderIdentity(certs)
    protect_from_memory_pressure()
    ensure_priority()
    apart = Apart(flush_cgroup)  # before there is anything that a child must not have
    ensure_alone(Tree(), SystemClock())
    faulthandler.register(signal.SIGUSR1)  # what every thread is doing, for whoever wonders
    allow_many_files()
    quieten_udev(SystemClock())
    machine = make_machine(source(), data_address, data_port, apart)
    machine.target.remove_unused_hosts(NQN_PREFIX)  # left by an agent that was killed between two steps
    agent = Agent(machine, Storage(machine.tree, machine.runner, machine.clock, machine.wholes))
    agent.start()
    server = serve_node(agent, listen, source)
    _log.info("node %s serves on %s, kernel %s", machine.node, listen, os.uname().release)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.stop(_STOP_GRACE)
    logging.shutdown()
    os._exit(0)  # no thread of ours is waited for


def allow_many_files() -> None:
    """A dozen are held open for each volume that is attached here; 1024, the usual limit, is soon reached."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def make_machine(identity: Identity, data_address: str, data_port: int, apart: Apart) -> Machine:
    """Raises Unsupported, naming it, when this kernel lacks something."""
    tree, clock, blocking = Tree(), SystemClock(), Blocking()
    modules.check_kernel(os.uname().release)
    modules.ensure_loaded(tree, run)
    for missed in modules.list_missed_options(tree):
        _log.warning("a module was loaded without `options %s`: writes will be slow; %s", missed, _HOW_TO_SET)
    modules.ensure_configfs(tree, run)
    mapper = DeviceMapper()
    host = NvmeHost(tree, clock=clock, blocking=blocking)
    target = Nvmet(tree, blocking, is_open=mapper.is_open)
    check_multipath(tree)
    return Machine(
        node=holder_of(identity.certificate_pem).name,
        cluster=cluster_of(identity.certificate_pem),
        boot_id=tree.read("/proc/sys/kernel/random/boot_id"),
        data_address=data_address,
        data_port=data_port,
        authentication=host.has_authentication() and target.has_authentication(),
        tree=tree,
        runner=run,
        clock=clock,
        blocking=blocking,
        apart=apart,
        holds=HoldLayer(mapper, tree),
        wholes=Wholes(mapper, tree),
        host=host,
        target=target,
        refusals=hear_refusals(tree, mapper, clock),
    )


def hear_refusals(tree: Tree, mapper: DeviceMapper, clock: Clock) -> Refusals:
    """A kernel that traces nothing is no reason not to serve: docs/architecture.md says what is at stake."""
    try:
        return TracedRefusals(tree, run, mapper)
    except TrilithError as error:
        _log.warning("what disks refuse is not heard of: %s", error)
        return Unheard(clock)


def check_multipath(tree: Tree) -> None:
    """Without native multipath a namespace's device would go away with its connection."""
    if tree.find("/sys/module/nvme_core/parameters/multipath") != "Y":
        raise Unsupported("NVMe's native multipath is off: boot with nvme_core.multipath=Y")


if __name__ == "__main__":
    main()
