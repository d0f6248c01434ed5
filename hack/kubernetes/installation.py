"""Trilith in a cluster as users install it: the image of deploy/Dockerfile, the chart with its own values.

The sidecars' images are made of the programs that are built here, under the names that the chart has for
them.
"""

from pathlib import Path

import yaml

from hack.golang import Program, ensure_program
from hack.helm.chart import CHART, NAMESPACE, run_helm
from hack.image.build import TAG, ensure_image
from hack.kubernetes.build import ATTACHER, LIVENESS, PROVISIONER, REGISTRAR, RESIZER
from hack.kubernetes.cluster import KubernetesCluster
from hack.kubernetes.images import Image, ensure_archive

RELEASE = "trilith"
_SIDECARS = {
    "provisioner": PROVISIONER,
    "attacher": ATTACHER,
    "resizer": RESIZER,
    "registrar": REGISTRAR,
    "livenessprobe": LIVENESS,
}
_TIMEOUT = "15m"


class Installation:
    """It goes with the cluster: nothing is uninstalled."""

    def __init__(self, kubernetes: KubernetesCluster, *settings: str) -> None:
        """`settings` are more values, as in `--set`."""
        self.kubernetes = kubernetes
        repository, _, tag = TAG.rpartition(":")
        own = (f"image.repository={repository}", f"image.tag={tag}")
        self._settings = [word for setting in (*own, *settings) for word in ("--set", setting)]

    def install(self) -> None:
        """From the images of `archives`. LabError, with helm's words, when not all is ready in time."""
        argv = ["upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--create-namespace"]
        waiting = ["--wait", "--timeout", _TIMEOUT]
        run_helm([*argv, *waiting, *self._settings], self.kubernetes.plane.admin_kubeconfig, timeout=1200)


def archives() -> tuple[Path, Path]:
    """Of our own image, and of the sidecars'. They may have to be built, which needs a network."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())["sidecars"]
    images = [_make_sidecar(values[name]["image"], program) for name, program in _SIDECARS.items()]
    return ensure_image(), ensure_archive(images)


def _make_sidecar(tag: str, program: Program) -> Image:
    content = ensure_program(program).read_bytes()
    return Image(tag, {program.name: content}, {"Entrypoint": [f"/{program.name}"]})
