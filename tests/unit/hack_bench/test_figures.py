import json
from pathlib import Path

import pytest

from hack.bench.figures import Board, Figure, Goal, format_line


@pytest.mark.parametrize(
    ("op", "value", "met"),
    [
        *(("<=", 1.9, True), ("<=", 2, True), ("<=", 2.001, False)),
        *((">=", 2.1, True), (">=", 2, True), (">=", 1.999, False)),
    ],
)
def test_a_goal_is_met_on_its_own_side_and_on_the_border(op: str, value: float, met: bool) -> None:
    goal = Goal("<=" if op == "<=" else ">=", 2)
    assert goal.is_met_by(value) is met


def test_a_line_says_name_value_unit_goal_and_verdict() -> None:
    figure = Figure("create-volume-p50", 1.23456, "s", Goal("<=", 2))
    assert format_line(figure) == "figure create-volume-p50 1.235 s goal <= 2 met"


def test_a_missed_goal_is_short() -> None:
    assert format_line(Figure("x", 0.9, "ratio", Goal(">=", 0.95))).endswith("goal >= 0.95 short")


def test_a_line_never_contradicts_itself_by_rounding() -> None:
    assert format_line(Figure("x", 1.00049, "%", Goal("<=", 1))) == "figure x 1 % goal <= 1 met"


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (12.0, "12"), (1234567.25, "1234567.25")])
def test_values_are_printed_without_an_exponent(value: float, shown: str) -> None:
    assert format_line(Figure("x", value, "n", Goal(">=", 0))).split()[2] == shown


def test_a_board_prints_each_figure_and_keeps_it_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board = Board("bench-quick", tmp_path)
    board.note("three machines")
    board.add(Figure("a", 1.0, "s", Goal("<=", 2), (0.5, 1.0, 1.23456)))
    kept = json.loads((tmp_path / "bench-quick.json").read_text())
    board.add(Figure("b", 3.0, "s", Goal("<=", 2)))
    assert capsys.readouterr().out.splitlines() == [
        "three machines",
        "figure a 1 s goal <= 2 met",
        "figure b 3 s goal <= 2 short",
    ]
    a = {"name": "a", "value": 1.0, "unit": "s", "op": "<=", "goal": 2, "met": True}
    assert kept["figures"] == [{**a, "samples": [0.5, 1.0, 1.235]}]
    assert kept["notes"] == ["three machines"]
    assert len(json.loads((tmp_path / "bench-quick.json").read_text())["figures"]) == 2
