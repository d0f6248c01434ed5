"""Trilith's chart: what it is made into, and what helm says of it."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from hack.helm.build import ensure_helm
from hack.kubernetes.build import VERSION
from hack.lab.errors import LabError
from hack.lab.paths import REPOSITORY
from replication.kubernetes.access import Json

CHART = REPOSITORY / "deploy" / "charts" / "trilith"
NAMESPACE = "trilith"
RULES = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Role",
    "RoleBinding",
    "ServiceAccount",
}
_TIMEOUT = 60


def render(*settings: str, namespace: str = NAMESPACE, hooks: bool = True) -> list[Json]:
    """The documents, with `settings` as in `--set`. LabError, with helm's words, where it refuses."""
    words = [word for setting in settings for word in ("--set", setting)]
    argv = ["template", "trilith", str(CHART), "--namespace", namespace, "--kube-version", VERSION]
    text = run_helm([*argv, *words, *([] if hooks else ["--no-hooks"])])
    return [document for document in yaml.safe_load_all(text) if document]


def list_rules() -> list[Json]:
    """What is needed where no pod runs: the namespace, our kinds, and who may do what."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return [space, *(each for each in render(hooks=False) if each["kind"] in RULES)]


def lint() -> str:
    return run_helm(["lint", "--strict", "--kube-version", VERSION, str(CHART)])


def run_helm(words: Sequence[str], kubeconfig: Path | None = None, timeout: float = _TIMEOUT) -> str:
    """Standard output."""
    named = ["--kubeconfig", str(kubeconfig)] if kubeconfig is not None else []
    argv = [str(ensure_helm()), *words, *named]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise LabError(f"helm {words[0]}: {done.stderr.strip()} {done.stdout.strip()}")
    return done.stdout
