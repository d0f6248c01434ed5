"""The programs of a Kubernetes cluster, from two Go modules: what is in one shares most of its build."""

import re
from pathlib import Path

from hack.golang import Program

VERSION = "1.35.4"
"""Also in go.mod, which replaces each k8s.io module by its own release: Kubernetes has folders."""

_MODULE = Path(__file__).parent
_SIDECARS = _MODULE / "sidecars"
_MAJOR, _MINOR, _ = VERSION.split(".")
_STAMP = "k8s.io/component-base/version"
_LDFLAGS = " ".join(
    f"-X {_STAMP}.{name}={value}"
    for name, value in (
        ("gitVersion", f"v{VERSION}"),
        ("gitMajor", _MAJOR),
        ("gitMinor", _MINOR),
    )
)


def _of_kubernetes(name: str) -> Program:
    return Program(name, _MODULE, f"k8s.io/kubernetes/cmd/{name}", _LDFLAGS)


def _sidecar(name: str) -> Program:
    """Its package is as go.mod has it: with the module's major version."""
    pins = (_SIDECARS / "go.mod").read_text()
    package = next(iter(re.findall(rf"^\t(\S+/cmd/csi-{name})$", pins, re.MULTILINE)))
    return Program(f"csi-{name}", _SIDECARS, package)


ETCD = Program("etcd", _MODULE, "go.etcd.io/etcd/server/v3")
APISERVER = _of_kubernetes("kube-apiserver")
CONTROLLER_MANAGER = _of_kubernetes("kube-controller-manager")
SCHEDULER = _of_kubernetes("kube-scheduler")
KUBELET = _of_kubernetes("kubelet")
KUBECTL = _of_kubernetes("kubectl")
PROVISIONER, ATTACHER, RESIZER = map(_sidecar, ("provisioner", "attacher", "resizer"))

REGISTRAR = Program("csi-registrar", _SIDECARS, "./registrar")
LIVENESS = Program("csi-liveness", _SIDECARS, "./liveness")
"""Stand-ins of ours for two sidecars whose modules are not served."""

CONTROL_PLANE = (ETCD, APISERVER, CONTROLLER_MANAGER, KUBECTL)
"""What tests without machines need: `make e2e-api`."""

SIDECARS = (PROVISIONER, ATTACHER, RESIZER, REGISTRAR, LIVENESS)
CLUSTER = (*CONTROL_PLANE, SCHEDULER, KUBELET, *SIDECARS)
