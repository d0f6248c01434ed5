"""How the programs of a control plane are started, as a function of where their things are."""

from dataclasses import dataclass
from pathlib import Path

SERVICES = "10.96.0.0/16"
SERVICE = "10.96.0.1"
"""Where pods look for the API server: Kubernetes gives its own service the first address."""

ISSUER = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Places:
    """Where one control plane keeps its files and listens."""

    folder: Path
    address: str  # of the API server; etcd is for it alone, on loopback
    port: int
    etcd_port: int
    peer_port: int

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.port}"

    @property
    def etcd(self) -> str:
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def peer(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"


def etcd_argv(program: Path, places: Places, *, durable: bool) -> list[str]:
    options = {
        "name": "one",
        "data-dir": places.folder / "etcd",
        "listen-client-urls": places.etcd,
        "advertise-client-urls": places.etcd,
        "listen-peer-urls": places.peer,
        "initial-advertise-peer-urls": places.peer,
        "initial-cluster": f"one={places.peer}",
        "log-level": "warn",
    }
    return [str(program), *_words(options), *([] if durable else ["--unsafe-no-fsync"])]


def apiserver_argv(program: Path, places: Places) -> list[str]:
    """Users by client certificate and service accounts by token; RBAC; as strict as kubeadm's."""
    folder = places.folder
    options = {
        "etcd-servers": places.etcd,
        "bind-address": places.address,
        "advertise-address": places.address,
        "secure-port": places.port,
        "tls-cert-file": folder / "apiserver.crt",
        "tls-private-key-file": folder / "apiserver.key",
        "client-ca-file": folder / "ca.crt",
        "cert-dir": folder / "made",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "anonymous-auth": "false",
        "service-account-issuer": ISSUER,
        "service-account-key-file": folder / "sa.pub",
        "service-account-signing-key-file": folder / "sa.key",
        "service-cluster-ip-range": SERVICES,
        "endpoint-reconciler-type": "none",
        "allow-privileged": "true",
        "kubelet-client-certificate": folder / "kubelet-client.crt",
        "kubelet-client-key": folder / "kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
    }
    return [str(program), *_words(options)]


def controller_manager_argv(program: Path, folder: Path, kubeconfig: Path) -> list[str]:
    options = {
        "service-account-private-key-file": folder / "sa.key",
        "root-ca-file": folder / "ca.crt",
        "use-service-account-credentials": "true",
        "allocate-node-cidrs": "false",
    }
    return [str(program), *_words({**_controller(folder, kubeconfig), **options})]


def scheduler_argv(program: Path, folder: Path, kubeconfig: Path) -> list[str]:
    return [str(program), *_words(_controller(folder, kubeconfig))]


def _controller(folder: Path, kubeconfig: Path) -> dict[str, object]:
    """There is one of each, which so need not be elected."""
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": "127.0.0.1",
        "cert-dir": folder / "made",
        "leader-elect": "false",
    }


def _words(options: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]
