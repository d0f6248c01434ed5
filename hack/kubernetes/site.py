"""Trilith in a cluster without being installed there: each program a plain process, to be looked into.

On the host: control, controller, and the sidecars with the plugin's socket. On each machine: agent, node
plugin, and who tells the kubelet of it.
"""

from hack.golang import ensure_program
from hack.helm.chart import list_rules
from hack.kubernetes.build import ATTACHER, PROVISIONER, REGISTRAR, RESIZER
from hack.kubernetes.cluster import KubernetesCluster
from hack.kubernetes.manifests import apply_documents
from hack.lab.site import Site
from hack.lab.vm import Machine
from replication.kubernetes.access import NAMESPACE, read_kubeconfig
from replication.kubernetes.client import Client

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:trilith-control"
DRIVER = "csi.trilith.io"
_KUBELET = "/var/lib/kubelet"
_PLUGIN = f"{_KUBELET}/plugins/{DRIVER}/csi.sock"


class ProcessSite(Site):
    """`with ProcessSite(kubernetes) as site`: everything runs, with a pool of the machines' first disks."""

    def __init__(self, kubernetes: KubernetesCluster, pool: str) -> None:
        super().__init__(kubernetes.machines, kubeconfig=kubernetes.plane.kubeconfig(ACCOUNT))
        self.kubernetes = kubernetes
        self._pool = pool

    def __enter__(self) -> "ProcessSite":
        plane = self.kubernetes.plane
        administrator = Client(read_kubeconfig(plane.admin_kubeconfig))
        apply_documents(administrator, list_rules())
        administrator.close()
        super().__enter__()
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def _start(self) -> None:
        disks = tuple((machine.name, machine.disk_path(0)) for machine in self.cluster.machines)
        self.control.pools.create(self._pool, tuple(name for name, _ in disks), len(disks), disks)
        self.start_control()
        socket = self.state / "csi.sock"
        self.start_controller_plugin(f"unix://{socket}")
        for name, argv in sidecars(str(socket), str(self.kubernetes.plane.admin_kubeconfig)).items():
            daemon = self.kubernetes.plane.daemon(name, argv)
            self._stack.callback(daemon.end)
            daemon.start()
        for machine in self.cluster.machines:
            self.start_node(machine)

    def start_node(self, machine: Machine) -> None:
        """Its plugin, and the kubelet knows of it when this returns."""
        folder = _PLUGIN.rpartition("/")[0]
        machine.succeed(["mkdir", "-p", folder])
        self.start_node_plugin(machine, f"unix://{_PLUGIN}")
        flags = {
            "csi-address": _PLUGIN,
            "kubelet-registration-path": _PLUGIN,
            "plugin-registration-path": f"{_KUBELET}/plugins_registry",
        }
        machine.spawn(
            [str(ensure_program(REGISTRAR)), *(f"--{name}={value}" for name, value in flags.items())]
        )


def sidecars(socket: str, kubeconfig: str) -> dict[str, list[str]]:
    """Command lines by name. Objects of capacity have no owner: they go with the cluster."""
    common = (f"--csi-address={socket}", f"--kubeconfig={kubeconfig}", "--timeout=60s")
    provisioner = (
        "--extra-create-metadata",
        "--feature-gates=Topology=true",
        "--enable-capacity",
        "--capacity-ownerref-level=-1",
        "--capacity-poll-interval=5s",
    )
    return {
        "csi-provisioner": [
            "env",
            f"NAMESPACE={NAMESPACE}",
            str(ensure_program(PROVISIONER)),
            *common,
            *provisioner,
        ],
        "csi-attacher": [str(ensure_program(ATTACHER)), *common],
        "csi-resizer": [str(ensure_program(RESIZER)), *common],
    }


DRIVER_OBJECT = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "CSIDriver",
    "metadata": {"name": DRIVER},
    "spec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": True,
        "fsGroupPolicy": "File",
        "volumeLifecycleModes": ["Persistent"],
    },
}


def make_storage_class(pool: str) -> dict[str, object]:
    """As the operator makes it for each pool."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": f"trilith-{pool}"},
        "provisioner": DRIVER,
        "parameters": {"pool": pool},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }
