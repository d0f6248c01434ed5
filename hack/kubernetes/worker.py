"""A machine of the lab as a node of the cluster: containerd and the kubelet, as they are on others' nodes."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from hack.kubernetes.images import PAUSE
from hack.kubernetes.plane import ControlPlane
from hack.lab.cgroups import inside
from hack.lab.network import HOST_ADDRESS
from hack.lab.packages import KUBERNETES, get_tree
from hack.lab.vm import Machine, Spawned

SCRIPT = Path(__file__).with_name("worker.sh")
DISK = 1
"""Which of the machine's disks containerd and the kubelet have; the first is Trilith's."""

_FOLDER = "/run/kubernetes"
_SLICE = "/sys/fs/cgroup/system.slice"
_NETWORKS = "/etc/cni/net.d"
_CONTAINERD = "/run/containerd/containerd.sock"


@dataclass(frozen=True, slots=True)
class Program:
    """What runs on a machine, and what it is found by when it does."""

    containerd: Spawned
    kubelet: Spawned


def pod_range(machine: Machine) -> str:
    return f"10.244.{machine.hardware.index}.0/24"


def start_worker(
    machine: Machine, name: str, others: tuple[Machine, ...], plane: ControlPlane, kubelet: Path
) -> Program:
    """As the node `name`, also after the machine has booted again.

    The kubelet joins the cluster by itself, in its own time.
    """
    _write_files(machine, name, others, plane)
    machine.succeed([str(SCRIPT), f"{_FOLDER}/worker.conf"])
    containerd = _spawn_containerd(machine)
    machine.wait_until_succeeds([_ctr(), "version"], timeout=120)
    return Program(containerd, _spawn_kubelet(machine, name, kubelet))


def tag_image(machine: Machine, name: str, other: str) -> None:
    """Its containerd has the image under another name, too."""
    machine.succeed([_ctr(), "--namespace", "k8s.io", "images", "tag", "--force", name, other])


def _ctr() -> str:
    return f"{get_tree(KUBERNETES)}/usr/bin/ctr"


def _write_files(machine: Machine, name: str, others: tuple[Machine, ...], plane: ControlPlane) -> None:
    node = plane.kubeconfig(f"system:node:{name}", ("system:nodes",))
    routes = " ".join(f"{pod_range(other)}={other.address}" for other in others)
    conf = {"GATEWAY": HOST_ADDRESS, "ROUTES": routes, "DISK": machine.disk_path(DISK)}
    files = {
        f"{_FOLDER}/worker.conf": "".join(f"{key}={shlex.quote(value)}\n" for key, value in conf.items()),
        f"{_FOLDER}/containerd.toml": containerd_config(get_tree(KUBERNETES)),
        f"{_FOLDER}/kubelet.yaml": yaml.safe_dump(kubelet_config()),
        f"{_FOLDER}/kubeconfig": node.read_text(),
        f"{_FOLDER}/ca.crt": plane.ca_file.read_text(),
        f"{_NETWORKS}/10-lab.conflist": json.dumps(network_config(pod_range(machine))),
    }
    for path, content in files.items():
        machine.write_file(path, content)


def _spawn_containerd(machine: Machine) -> Spawned:
    tree = get_tree(KUBERNETES) / "usr"
    path = f"{tree}/bin:{tree}/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    argv = [str(tree / "bin" / "containerd"), "--config", f"{_FOLDER}/containerd.toml"]
    libraries = f"{tree}/lib/x86_64-linux-gnu"  # of runc
    return _spawn_apart(machine, argv, environment={"PATH": path, "LD_LIBRARY_PATH": libraries})


def _spawn_kubelet(machine: Machine, name: str, program: Path) -> Spawned:
    options = {
        "config": f"{_FOLDER}/kubelet.yaml",
        "kubeconfig": f"{_FOLDER}/kubeconfig",
        "hostname-override": name,
        "node-ip": machine.address,
        "housekeeping-interval": "60s",
        "v": "1",
    }
    return _spawn_apart(machine, [str(program), *(f"--{name}={value}" for name, value in options.items())])


def _spawn_apart(machine: Machine, argv: list[str], environment: dict[str, str] | None = None) -> Spawned:
    """In the node's own slice: see worker.sh."""
    return machine.spawn(inside(_SLICE, argv), environment)


def kubelet_config() -> dict[str, object]:
    """As kubeadm's, but for what keeps an emulated machine of one gibibyte busy."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{_FOLDER}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "failSwapOn": False,
        "resolvConf": "",
        # never: to look whether anybody has to go takes 15 % of the processor of a kubelet with little to do
        "evictionHard": {"memory.available": "0%"},
        "localStorageCapacityIsolation": False,
        "imageGCHighThresholdPercent": 100,
        "volumeStatsAggPeriod": "-1s",
        "registryPullQPS": 0,
    }


def containerd_config(tree: Path) -> str:
    """`tree` is where its packages are unpacked. TOML, of version 2."""
    return f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{tree}/usr/lib/cni"
    conf_dir = "{_NETWORKS}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "{tree}/usr/sbin/runc"
      SystemdCgroup = false
"""


def network_config(pods: str) -> dict[str, object]:
    """A bridge on each node. Nothing is translated: nodes and control plane have routes to all pods."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]}
