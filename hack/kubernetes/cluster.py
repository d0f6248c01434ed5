"""A Kubernetes cluster of the lab: the control plane beside its machines, a containerd and a kubelet on each.

API server, controllers, scheduler, kubelets: all real. Left out is what a cluster has besides and nobody here
needs: kube-proxy (the address of the API server's own service is one of the host's, and the API server goes
to the pods of webhooks by itself), DNS, and a registry.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from hack.golang import ensure_program
from hack.helm.chart import NAMESPACE
from hack.kubernetes.arguments import SERVICE, controller_manager_argv, scheduler_argv
from hack.kubernetes.audit import AuditLog
from hack.kubernetes.build import CONTROLLER_MANAGER, KUBECTL, KUBELET, SCHEDULER
from hack.kubernetes.images import ensure_archive, make_images
from hack.kubernetes.kubectl import Kubectl
from hack.kubernetes.linked import make_fio_image
from hack.kubernetes.plane import ControlPlane
from hack.kubernetes.seed import ensure_disk
from hack.kubernetes.worker import DISK, Program, pod_range, start_worker
from hack.lab import network
from hack.lab.cluster import GIB, Cluster
from hack.lab.vm import Machine
from replication.clock import SystemClock, wait_until

PORT = 443
_DISK_BYTES = 2 * GIB
READY_SECONDS = 600.0
_ROUTING = ("--bind-address=0.0.0.0", "--enable-aggregator-routing=true")


class KubernetesCluster:
    """`with KubernetesCluster(machines) as kubernetes`: every machine is a node of it, and Ready.

    The machines are those of `make_machines`, and run. The first disk of each is left alone.
    """

    def __init__(self, machines: Cluster) -> None:
        self.machines = machines
        self.programs: dict[str, Program] = {}
        self._stack = contextlib.ExitStack()
        self._clock = SystemClock()

    def __enter__(self) -> "KubernetesCluster":
        with self._stack:
            self._start_plane()
            network.add_address(SERVICE)
            for machine in self.machines.machines:
                network.add_route(pod_range(machine), machine.address)
            with ThreadPoolExecutor(len(self.machines.machines)) as pool:
                tuple(pool.map(self.start_worker, self.machines.machines))
            for machine in self.machines.machines:
                self.wait_node_ready(machine.name)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_plane(self) -> None:
        """Controllers after the API server: they end for good when its first roles are not there yet."""
        logs = self.machines.logs
        self.audit = AuditLog(logs, NAMESPACE)
        options = (*_ROUTING, *self.audit.options())
        self.plane = self._stack.enter_context(
            ControlPlane(network.HOST_ADDRESS, PORT, options=options, logs=logs)
        )
        self.kubectl = Kubectl(ensure_program(KUBECTL), self.plane.admin_kubeconfig)
        for program, user, argv in (
            (CONTROLLER_MANAGER, "system:kube-controller-manager", controller_manager_argv),
            (SCHEDULER, "system:kube-scheduler", scheduler_argv),
        ):
            words = argv(ensure_program(program), self.plane.folder, self.plane.kubeconfig(user))
            self.plane.daemon(program.name, words).start()

    def start_worker(self, machine: Machine, name: str = "") -> None:
        """Also after the machine has booted again. As another node, when it has another name now."""
        others = tuple(other for other in self.machines.machines if other is not machine)
        kubelet = ensure_program(KUBELET)
        name = name or machine.name
        self.programs[machine.name] = start_worker(machine, name, others, self.plane, kubelet)

    def wait_node_ready(self, name: str, timeout: float = READY_SECONDS) -> None:
        def is_ready() -> bool:
            nodes = self.kubectl.get("nodes")
            found = next((node for node in nodes if node["metadata"]["name"] == name), None)
            return found is not None and has_condition(found, "Ready")

        wait_until(is_ready, f"node {name} Ready", timeout=timeout, clock=self._clock, interval=0.5)


def make_machines(*archives: Path, nodes: int = 3, memory_mib: int = 2000) -> Cluster:
    """Not started yet. `archives` have the images that pods may run, besides those of the lab's own."""
    own = ensure_archive((*make_images(), make_fio_image()))
    disk = ensure_disk((own, *archives), _DISK_BYTES)
    return Cluster(nodes, DISK + 1, disk_size_bytes=_DISK_BYTES, memory_mib=memory_mib, images={DISK: disk})


def has_condition(found: dict[str, object], kind: str) -> bool:
    """Whether an object of Kubernetes says of itself that it is so."""
    conditions = found.get("status", {}).get("conditions", [])  # type: ignore[attr-defined]
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)
