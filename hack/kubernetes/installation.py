"""Trilith in a cluster as users install it: the image of deploy/Dockerfile, the chart with its own values.

The sidecars' images are made of the programs that are built here, under the names that the chart has for
them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from hack.golang import Program, ensure_program
from hack.helm.chart import CHART, NAMESPACE, run_helm
from hack.image.build import TAG, ensure_image
from hack.kubernetes.build import ATTACHER, LIVENESS, PROVISIONER, REGISTRAR, RESIZER
from hack.kubernetes.cluster import KubernetesCluster
from hack.kubernetes.documented import README, get_command
from hack.kubernetes.images import Image, ensure_archive
from hack.lab.paths import REPOSITORY

RELEASE = "trilith"
_SIDECARS = {
    "provisioner": PROVISIONER,
    "attacher": ATTACHER,
    "resizer": RESIZER,
    "registrar": REGISTRAR,
    "livenessprobe": LIVENESS,
}
_TIMEOUT = 900


class Installation:
    """It goes with the cluster, when nobody uninstalls it before."""

    def __init__(self, kubernetes: KubernetesCluster) -> None:
        self.kubernetes = kubernetes

    def install(self) -> None:
        """By the README's words, from the images of `archives`.

        LabError, with helm's words, when not all is ready in time.
        """
        repository, _, tag = TAG.rpartition(":")
        own = (f"image.repository={repository}", f"image.tag={tag}")
        told = get_command(README, "helm install")[1:]
        self._run_helm(*(str(CHART) if REPOSITORY / word == CHART else word for word in told), *_set(own))

    def upgrade(self, *settings: str) -> None:
        """To these values, as in `--set`, and those of before."""
        self._helm("upgrade", RELEASE, str(CHART), "--reuse-values", "--wait", *_set(settings))

    def roll_back(self) -> None:
        """To itself: helm upgrades no release whose uninstallation was refused."""
        words = ("history", RELEASE, "--namespace", NAMESPACE, "--max", "1", "--output", "json")
        (newest,) = json.loads(run_helm(words, self.kubernetes.plane.admin_kubeconfig))
        self._helm("rollback", RELEASE, str(newest["revision"]), "--wait")

    def uninstall(self) -> None:
        """LabError, with helm's words, when it is refused."""
        self._helm("uninstall", RELEASE, "--wait")

    def _helm(self, *words: str) -> None:
        self._run_helm(*words, "--namespace", NAMESPACE, "--timeout", f"{_TIMEOUT}s")

    def _run_helm(self, *words: str) -> None:
        run_helm(words, self.kubernetes.plane.admin_kubeconfig, timeout=_TIMEOUT + 60)


def _set(settings: Sequence[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def archives() -> tuple[Path, Path]:
    """Of our own image, and of the sidecars'. They may have to be built, which needs a network."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())["sidecars"]
    images = [_make_sidecar(values[name]["image"], program) for name, program in _SIDECARS.items()]
    return ensure_image(), ensure_archive(images)


def _make_sidecar(tag: str, program: Program) -> Image:
    content = ensure_program(program).read_bytes()
    return Image(tag, {program.name: content}, {"Entrypoint": [f"/{program.name}"]})
