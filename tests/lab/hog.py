"""Inside a machine: take memory until only so much of it is left that can be had without waiting for a disk.

    python -I -S hog.py MEGABYTES

It says `short` once that is so, and takes more when more is to be had. Runs until it is killed.
"""

import sys
import time
from pathlib import Path

MIB = 1 << 20
STEP_BYTES = 2 * MIB


def at_hand() -> int:
    """Bytes that are free, or in clean pages of files."""
    words = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    sizes = {name: int(size) * 1024 for name, size, *_ in words}
    files = sizes["Active(file):"] + sizes["Inactive(file):"]
    return sizes["MemFree:"] + max(0, files - sizes["Dirty:"] - sizes["Writeback:"])


def main() -> None:
    left, taken, told = int(sys.argv[1]) * MIB, [], False
    while True:
        if at_hand() > left:
            taken.append(b"\1" * STEP_BYTES)
            continue
        if not told:
            print("short", flush=True)
            told = True
        time.sleep(0.2)  # noqa: TID251 - a bare interpreter


if __name__ == "__main__":
    main()
