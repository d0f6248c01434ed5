"""Inside a machine: wait for a recovery to begin and to end, and print how fast it was.

    python -I -S copies_guest.py /sys/block/md_NAME/md

Prints {"bytes": …, "seconds": …}. Standard library only.
"""

import json
import sys
import time
from pathlib import Path

_PAUSE = 0.02


def await_word(path: Path, *, recovering: bool) -> float:
    """When it was seen."""
    while (path.read_text().strip() == "recover") is not recovering:
        time.sleep(_PAUSE)
    return time.monotonic()


def main() -> None:
    folder = Path(sys.argv[1])
    begun = await_word(folder / "sync_action", recovering=True)
    ended = await_word(folder / "sync_action", recovering=False)
    size = int((folder / "component_size").read_text()) << 10
    print(json.dumps({"bytes": size, "seconds": ended - begun}))


if __name__ == "__main__":
    main()
