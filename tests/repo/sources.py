"""The repository's own files, as git has them."""

import ast
import subprocess  # noqa: TID251  only git is asked, and only by tests
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("csi", "replication", "hack", "tests")


@cache
def list_tracked() -> tuple[Path, ...]:
    """What is committed or staged, and still there."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())


def list_modules() -> dict[str, Path]:
    """Our modules by dotted name, without generated code."""
    return {
        name_module(path): path
        for path in list_tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES and path.parent.name != "v1"
    }


def name_module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def read_texts() -> Iterator[tuple[str, str]]:
    """Path and text of every tracked file that is text."""
    for path in list_tracked():
        content = path.read_bytes()
        if b"\0" not in content:
            yield str(path.relative_to(ROOT)), content.decode(errors="replace")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
