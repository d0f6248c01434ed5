"""Figures: what was measured, against the goal for it; a line each on screen, and the same as JSON.

`figure NAME VALUE UNIT goal OP VALUE met|short`. A goal that is missed is shown, and fails nothing.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hack.lab.paths import REPOSITORY

FOLDER = REPOSITORY / ".cache" / "figures"
_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Goal:
    """`value` and what the figure has to be to it."""

    op: Literal["<=", ">="]
    value: float

    def is_met_by(self, value: float) -> bool:
        return value <= self.value if self.op == "<=" else value >= self.value


@dataclass(frozen=True, slots=True)
class Figure:
    """`samples` are what `value` was made of, for the JSON only."""

    name: str
    value: float
    unit: str
    goal: Goal
    samples: tuple[float, ...] = ()

    @property
    def shown(self) -> float:
        """What is printed; the goal is compared with this, so that a line never contradicts itself."""
        return round(self.value, _DECIMALS)

    @property
    def met(self) -> bool:
        return self.goal.is_met_by(self.shown)


def format_line(figure: Figure) -> str:
    goal = f"goal {figure.goal.op} {figure.goal.value:g}"
    verdict = "met" if figure.met else "short"
    return f"figure {figure.name} {figure.shown:.10g} {figure.unit} {goal} {verdict}"


def to_json(figure: Figure) -> dict[str, object]:
    return {
        "name": figure.name,
        "value": figure.shown,
        "unit": figure.unit,
        "op": figure.goal.op,
        "goal": figure.goal.value,
        "met": figure.met,
        "samples": [round(sample, _DECIMALS) for sample in figure.samples],
    }


class Board:
    """The figures of one command: each is printed and written when it comes, so that none gets lost."""

    def __init__(self, target: str, folder: Path = FOLDER) -> None:
        """`target` names the command and its file."""
        self._path = folder / f"{target}.json"
        self._figures: list[Figure] = []
        self._notes: list[str] = []

    def add(self, figure: Figure) -> None:
        print(format_line(figure), flush=True)
        self._figures.append(figure)
        self._write()

    def add_all(self, figures: Sequence[Figure]) -> None:
        for figure in figures:
            self.add(figure)

    def note(self, text: str) -> None:
        """What a reader of the figures has to know; printed too."""
        print(text, flush=True)
        self._notes.append(text)
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        found = [to_json(figure) for figure in self._figures]
        content = {"figures": found, "notes": self._notes, "load": os.getloadavg()}
        self._path.write_text(json.dumps(content, indent=1) + "\n")
