"""Tests that are named elsewhere, as showing something, are there."""

import re
from collections.abc import Iterator

import pytest

from tests.repo.sources import ROOT
from tests.simulation.shown import SHOWN_BY

NAME = re.compile(r"`(?P<file>(?:tests/[\w/]+\.py|…))(?:::(?P<test>test_\w+))?[^`]*`")
DOCUMENTS = ("docs/failure-stories.md", "docs/architecture.md", "docs/csi.md")


def find_named(text: str) -> Iterator[tuple[str, str]]:
    """File and test; an ellipsis stands for the file that was named last."""
    file = ""
    for match in NAME.finditer(text):
        file = file if match["file"] == "…" else match["file"]
        yield file, match["test"] or ""


def is_there(file: str, test: str) -> bool:
    path = ROOT / file
    return path.is_file() and (not test or f"def {test}(" in path.read_text())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document: str) -> None:
    named = list(find_named((ROOT / document).read_text()))
    assert [each for each in named if not is_there(*each)] == []
    assert document != DOCUMENTS[0] or len(named) > 80


def test_what_kernels_do_is_shown_by_tests_that_are_there() -> None:
    assert [named for named in SHOWN_BY.values() if not is_there(*named.split("::"))] == []


def test_a_name_that_is_not_there_is_found() -> None:
    assert list(find_named("`tests/a.py::test_x[1]`, `…::test_y`")) == [
        ("tests/a.py", "test_x"),
        ("tests/a.py", "test_y"),
    ]
    assert not is_there("tests/repo/test_named.py", "test_nothing")
