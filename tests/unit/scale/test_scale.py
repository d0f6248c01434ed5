"""The machinery of `make bench-scale`, at a size that takes no time."""

import json
from pathlib import Path

import pytest

from hack.bench.figures import Board
from tests.scale.__main__ import parse_options, run
from tests.scale.curve import Row
from tests.scale.findings import compare
from tests.scale.load import Timing, measure, quantile
from tests.scale.stand import build_stand

TINY = "--volumes 6 3 --nodes 5 --operations 2 --threads 2 --attached-share 0.5 --watch-seconds 0"


def test_a_tiny_run_leaves_a_figure_for_each_goal_and_a_note_for_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(parse_options(TINY.split()), Board("bench-scale", tmp_path))
    found = json.loads((tmp_path / "bench-scale.json").read_text())
    calls = ("create", "publish", "get", "list", "unpublish", "delete")
    grown = [f"{call}-{what}-3-to-6" for call in calls for what in ("growth", "work-growth")]
    assert [each["name"] for each in found["figures"]] == [
        "creates-per-second-at-6",
        "create-p99-at-6",
        *grown,
    ]
    assert [note.splitlines()[0] for note in found["notes"][:2]] == ["3 volumes", "6 volumes"]
    assert "reconciler" in capsys.readouterr().out


def test_what_is_filled_in_is_as_if_it_had_been_made(tmp_path: Path) -> None:
    with build_stand(tmp_path, 5) as stand:
        stand.grow(4, attached_share=1.0)
        for volume in stand.control.volumes.list():
            assert (volume.phase, volume.attachment) == ("ready", "attached")
            for replica in volume.replicas:
                facts = stand.control.nodes.facts(replica.node).replicas
                assert (volume.id, replica.id) in {(f.volume_id, f.replica_id) for f in facts}
        stand.grow(6, attached_share=0.0)
        assert len(stand.control.volumes.list()) == 6


@pytest.mark.parametrize(("share", "found"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0), (0.26, 2.0)])
def test_a_quantile_is_one_of_the_samples(share: float, found: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], share) == found


def test_what_calls_return_is_in_order_and_each_is_timed(tmp_path: Path) -> None:
    with build_stand(tmp_path, 3) as stand:
        names = [(f"volume-{number}", "") for number in range(5)]
        timing, ids = measure(stand.socket, "create", names, threads=2)
        assert [stand.control.volumes.get(volume_id).name for volume_id in ids] == [name for name, _ in names]
    assert len(timing.samples) == 5


def test_growth_is_the_median_of_many_over_that_of_few() -> None:
    few, many = (
        Row(count, {"create": Timing((cost, cost, 90.0), 1.0, busy=4.0)}, 1, 1, 1, 1, 1, 0)
        for count, cost in ((10, 2.0), (20, 5.0))
    )
    assert [(figure.name, figure.value, figure.met) for figure in compare(few, many)] == [
        ("create-growth-10-to-20", 2.5, False),
        ("create-work-growth-10-to-20", 1.0, True),
    ]
