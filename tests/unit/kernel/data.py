"""Output captured from real tools and kernels; the file names say which."""

from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "data" / "kernel"


def read_captured(name: str) -> str:
    return (_FOLDER / name).read_text()
