"""Disk images copied; what is empty in them takes no room."""

import subprocess
from pathlib import Path


def copy_image(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", "--", str(source), str(target)], check=True)
