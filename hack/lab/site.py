"""Trilith on the lab's machines: an agent and a CSI node plugin on each, the control plane beside them.

What runs is what users run: the same programs with the same arguments. Only the machines are emulated.
"""

import contextlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import grpc

from csi.v1 import csi_pb2, csi_pb2_grpc
from hack.lab.cluster import Cluster
from hack.lab.errors import LabError
from hack.lab.network import AGENT_PORT, HOST_ADDRESS
from hack.lab.paths import REPOSITORY, VENV
from hack.lab.rundir import run_folder
from hack.lab.vm import Machine, Spawned
from replication.clock import SystemClock
from replication.control.control import open_control
from replication.errors import TimedOut, TrilithError
from replication.model import Node
from replication.pki import CertificateAuthority, Holder, Identity, Role, read_identity, write_identity
from replication.rpc.tls import secure_channel

NODE_PLUGIN_PORT, CONTROLLER_PORT = 7444, 7445
_GUEST_CERTS = "/run/trilith/certs"
_ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY)}
_CLUSTER = "lab"


class Site:
    """`with Site(cluster) as site` installs and starts everything, and stops it in the end.

    `verbose` agents log every call and every program that they start.
    """

    def __init__(self, cluster: Cluster, *, verbose: bool = False) -> None:
        self.cluster = cluster
        self._agent_flags = ("--verbose",) if verbose else ()
        self.agents: dict[str, Spawned] = {}
        self.plugins: dict[str, Spawned] = {}
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}  # beside the machines: control, controller
        self._stack = contextlib.ExitStack()
        self._starter = ThreadPoolExecutor(1)  # a death signal is of the thread that started: prctl(2)
        self._clock = SystemClock()

    def __enter__(self) -> "Site":
        with self._stack:
            self._stack.callback(self._starter.shutdown)
            self.state = self._stack.enter_context(run_folder())
            self._authority = CertificateAuthority.create(self.state / "ca", _CLUSTER, clock=self._clock)
            write_identity(self.state / "pki", self._authority.issue("lab", Role.CONTROL))
            self.control = open_control(self.state)
            self._stack.callback(self.control.store.close)
            for machine in self.cluster.machines:
                self.start_agent(machine)
            for machine in self.cluster.machines:
                self.wait_for_agent(machine)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # On the machines

    def start_agent(self, machine: Machine, program: tuple[str, ...] = ("trilith-agent",)) -> None:
        """Also after the machine has booted again: its certificate is put there anew.

        `program`, and the words that come first, of one that takes trilith-agent's.
        """
        for name, content in self._certificates(machine).items():
            machine.write_file(f"{_GUEST_CERTS}/{name}", content)
        where = f"{machine.address}:{AGENT_PORT}"
        flags = ("--certs", _GUEST_CERTS, "--listen", where, "--data-address", machine.address)
        words = (*program, *flags, *self._agent_flags)
        self.agents[machine.name] = self._spawn(machine, words)

    def start_node_plugin(self, machine: Machine) -> None:
        endpoint = f"tls://{machine.address}:{NODE_PLUGIN_PORT}"
        agent = f"{machine.address}:{AGENT_PORT}"
        arguments = (
            "--endpoint",
            endpoint,
            "--agent",
            agent,
            "--certs",
            _GUEST_CERTS,
            "--node",
            machine.name,
        )
        self.plugins[machine.name] = self._spawn(machine, ("trilith-csi", "node", *arguments))

    def wait_for_agent(self, machine: Machine, timeout: float = 120) -> None:
        """Until the control plane has it as a node, and it answers."""
        node = Node(machine.name, f"{machine.address}:{AGENT_PORT}", machine.address)

        deadline = self._clock.now() + timeout
        while (error := self._find_error(node)) is not None:
            if self.agents[machine.name].status is not None:
                raise RuntimeError(f"the agent of {machine.name} ended:\n{self.agents[machine.name].output}")
            if self._clock.now() > deadline:
                raise TimedOut(f"the agent of {machine.name} to answer: not within {timeout:g} s: {error}")
            self._clock.sleep(0.05)

    def _find_error(self, node: Node) -> TrilithError | None:
        try:
            self.control.nodes.add(node)
            self.control.nodes.facts(node.name)
        except TrilithError as error:
            return error
        return None

    def _spawn(self, machine: Machine, words: tuple[str, ...]) -> Spawned:
        program, *arguments = words
        return machine.spawn([str(VENV / "bin" / program), *arguments], environment=_ENVIRONMENT)

    def _certificates(self, machine: Machine) -> dict[str, bytes]:
        folder = self.state / "nodes" / machine.name
        if not folder.exists():
            write_identity(folder, self._authority.issue(machine.name, Role.NODE))
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    # Beside the machines

    def start_control(self) -> subprocess.Popen[bytes]:
        """The reconciler, as a process of its own that can be killed."""
        words = ("trilith", "--state", str(self.state), "control", "run")
        return self._run("control", words)

    def start_controller_plugin(self) -> subprocess.Popen[bytes]:
        endpoint = f"tls://{HOST_ADDRESS}:{CONTROLLER_PORT}"
        words = ("trilith-csi", "controller", "--endpoint", endpoint, "--state", str(self.state))
        return self._run("controller", words)

    def run_cli(self, *arguments: str) -> str:
        """`trilith ARGUMENTS`: what it printed. Raises LabError with what it complained of."""
        argv = [str(VENV / "bin" / "trilith"), "--state", str(self.state), *arguments]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise LabError(f"trilith {' '.join(arguments)}: status {done.returncode}: {done.stderr}")
        return done.stdout

    def _run(self, name: str, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
        program, *arguments = words
        log = (self.cluster.logs / f"{program}-{arguments[0].strip('-')}.log").open("ab")
        process = self._starter.submit(
            subprocess.Popen,
            ["setpriv", "--pdeathsig", "KILL", "--", str(VENV / "bin" / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ).result()
        self._stack.callback(log.close)
        self._stack.callback(_end, process)
        self.daemons[name] = process
        return process

    def start_everything(self, pool: str) -> None:
        """The control plane, the plugins of controller and nodes, and a pool of the first disks."""
        self.start_control()
        self.start_controller_plugin()
        for machine in self.cluster.machines:
            self.start_node_plugin(machine)
        nodes = (word for machine in self.cluster.machines for word in ("--node", machine.name))
        self.run_cli("pool", "create", pool, *nodes)
        self.wait_for_plugins()

    # CSI's clients

    def identity(self) -> Identity:
        return read_identity(self.state / "pki")

    def controller(self) -> csi_pb2_grpc.ControllerStub:
        return csi_pb2_grpc.ControllerStub(self.controller_channel())

    def controller_channel(self) -> grpc.Channel:
        return self._channel(f"{HOST_ADDRESS}:{CONTROLLER_PORT}", Holder(Role.CONTROL, "lab"))

    def node_plugin(self, machine: Machine) -> csi_pb2_grpc.NodeStub:
        return csi_pb2_grpc.NodeStub(self.node_plugin_channel(machine))

    def node_plugin_channel(self, machine: Machine) -> grpc.Channel:
        return self._channel(f"{machine.address}:{NODE_PLUGIN_PORT}", Holder(Role.NODE, machine.name))

    def wait_for_plugins(self, timeout: float = 120) -> None:
        """Until the controller plugin and every node plugin answer."""
        request = csi_pb2.ProbeRequest()
        channels = map(self.node_plugin_channel, self.cluster.machines)
        for channel in (self.controller_channel(), *channels):
            stub = csi_pb2_grpc.IdentityStub(channel)
            stub.Probe(request, timeout=timeout, wait_for_ready=True)

    def _channel(self, address: str, peer: Holder) -> grpc.Channel:
        channel = secure_channel(address, peer, self.identity())
        self._stack.callback(channel.close)
        return channel


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
