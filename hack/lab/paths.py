"""Where the lab keeps its things: unpacked packages in the user's cache, logs in the checkout's."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
VENV = REPOSITORY / ".cache" / "venv"
LOGS = REPOSITORY / ".cache" / "lab" / "logs"
PYTHON = Path(sys.executable).resolve()
"""The interpreter behind the environment: guests run the same file through their view of the host's root."""


def cache() -> Path:
    """The user's cache folder for everything downloaded: survives `make clean`, shared by checkouts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trilith" / "lab"
