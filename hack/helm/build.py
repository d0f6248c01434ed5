"""helm, built from its Go module."""

from pathlib import Path

from hack.golang import Program, ensure_program

HELM = Program("helm", Path(__file__).parent, "helm.sh/helm/v3/cmd/helm")


def ensure_helm() -> Path:
    """The program. Raises LabError without Go, or when the build fails."""
    return ensure_program(HELM)
