"""csi-sanity, built from its Go module."""

from pathlib import Path

from hack.golang import Program, ensure_program

CSI_SANITY = Program(
    "csi-sanity", Path(__file__).parent, "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity"
)


def ensure_csi_sanity() -> Path:
    """The program. Raises LabError without Go, or when the build fails."""
    return ensure_program(CSI_SANITY)
