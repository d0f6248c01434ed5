"""Commands and manifests as users read them in README.md and docs: what is tried is what they are told."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import yaml

from hack.lab.errors import LabError
from hack.lab.paths import REPOSITORY
from replication.kubernetes.access import Json

README, GUIDE = REPOSITORY / "README.md", REPOSITORY / "docs" / "kubernetes.md"
_BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)
_MANIFEST = "apiVersion:"


def get_command(document: Path, start: str) -> tuple[str, ...]:
    """The words of the first command that begins like that."""
    for block in _list_blocks(document):
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith(f"{start} "):
                return tuple(shlex.split(line, comments=True))
    raise LabError(f"{document.name} has no command {start}")


def get_manifest(document: Path, kind: str) -> Json:
    """The first of that kind."""
    for block in _list_blocks(document):
        for found in yaml.safe_load_all(block) if block.startswith(_MANIFEST) else ():
            if found["kind"] == kind:
                return dict(found)
    raise LabError(f"{document.name} has no {kind}")


def _list_blocks(document: Path) -> Iterator[str]:
    for match in _BLOCK.finditer(document.read_text()):
        yield dedent(match[0]).strip("\n") + "\n"
