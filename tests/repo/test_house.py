"""What every file of the repository keeps to."""

import ast
import re

import pytest

from hack.generate import find_stale
from tests.repo.sources import ROOT, list_modules, parse, read_texts

LINES = 400

# Spelled so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work/\w|farm/|home/\w|Users/\w|root/\.)")
PACKAGE_INDEX = re.compile(r"(?:extra-)?index[-_]url|pypi\.(?:org/|python)|files\.pythonhosted|GO[P]ROXY=")

SKIPS = {"skip", "skipif", "xfail", "importorskip", "skipUnless", "skipTest"}
SKIP = re.compile("|".join(SKIPS))


def test_no_module_is_too_long_to_read() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in list_modules().items()}
    assert {name: length for name, length in lengths.items() if length > LINES} == {}


@pytest.mark.parametrize("pattern", [MACHINE_PATH, PACKAGE_INDEX], ids=["machine path", "package index"])
def test_no_file_holds_what_is_true_on_one_machine_only(pattern: re.Pattern[str]) -> None:
    assert [f"{path}: {match[0]}" for path, text in read_texts() for match in pattern.finditer(text)] == []


@pytest.mark.parametrize("path", ["work/main", "home/me", "farm/x", "root/.pyenv"])
def test_a_path_of_one_machine_is_recognised(path: str) -> None:
    assert MACHINE_PATH.search(f"cd /{path}")
    assert not MACHINE_PATH.search(f"overlay/{path}")


def test_no_test_is_skipped() -> None:
    skips = [
        f"{name}:{node.lineno}"
        for name, path in list_modules().items()
        if name.startswith("tests.") and SKIP.search(path.read_text())
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in SKIPS
    ]
    assert skips == []


def test_the_generated_code_is_what_its_sources_give() -> None:
    assert find_stale() == []


def test_no_source_is_importable_from_proto() -> None:
    assert [path.name for path in (ROOT / "proto").rglob("*.py")] == []
