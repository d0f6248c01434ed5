"""`make bench-footprint`, small: that it can be run at all, and measures."""

from pathlib import Path

import pytest

from hack.bench.figures import Board
from hack.kubernetes.plane import ControlPlane
from tests.scale.footprint import measure

NAMES = [
    "api-requests-idle-per-node",
    "api-requests-per-volume-life",
    "controller-memory-at-2",
    "api-requests-at-2-per-node",
]


@pytest.mark.usefixtures("admin")
def test_what_a_controller_takes_can_be_measured(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(tmp_path, plane, volumes=2, attached=1, board=Board("footprint-small"), quiet=2.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("figure ")] == NAMES
