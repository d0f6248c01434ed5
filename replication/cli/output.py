"""What a command prints: tables for people, JSON for programs. Never both."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

UNBOUNDED = 1000
"""Columns when nobody looks: a file or a pipe gets whole lines."""

STYLES = {
    "in_sync": "green",
    "redundant": "green",
    "up": "green",
    "stale": "red",
    "degraded": "yellow",
    "rebuilding": "yellow",
    "down": "red",
    "missing": "red",
    "warning": "yellow",
    "waiting": "bold red",
    "lost": "bold red",
}
"""Words that are worth a colour."""


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


def make_console() -> Console:
    """On what is standard output now: tests put another there."""
    width = None if sys.stdout.isatty() else UNBOUNDED
    return Console(file=sys.stdout, width=width, highlight=False)


def make_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(headings))
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    return table


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print_rendered(make_table(headings, rows))


def print_rendered(renderable: RenderableType) -> None:
    """Where nobody looks, without the blanks that fill up lines."""
    console = make_console()
    if console.is_terminal:
        console.print(renderable)
        return
    with console.capture() as captured:
        console.print(renderable)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def print_json(value: object) -> None:
    """One document, on one line when it is one of a stream."""
    sys.stdout.write(json.dumps(to_plain(value), indent=2) + "\n")


def print_json_line(value: object) -> None:
    sys.stdout.write(json.dumps(to_plain(value)) + "\n")
    sys.stdout.flush()


def to_plain(value: object) -> Any:  # noqa: ANN401 (what json.dumps takes)
    """Values of ours as dicts and lists, field by field. Secrets are never in what is printed here."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value
