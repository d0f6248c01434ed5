"""The programs of a Kubernetes control plane, from one Go module, so that they share most of their build."""

from pathlib import Path

from hack.golang import Program, ensure_program

VERSION = "1.35.4"
"""Also in go.mod, which replaces each k8s.io module by its own release: Kubernetes has folders."""

_MODULE = Path(__file__).parent
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

ETCD = Program("etcd", _MODULE, "go.etcd.io/etcd/server/v3")
APISERVER = Program("kube-apiserver", _MODULE, "k8s.io/kubernetes/cmd/kube-apiserver", _LDFLAGS)


def ensure_control_plane() -> tuple[Path, Path]:
    """Of etcd and kube-apiserver. Raises LabError without Go, or when a build fails."""
    return ensure_program(ETCD), ensure_program(APISERVER)
