"""Inside a machine: print what every block holds, read with O_DIRECT.

    python -I -S dump.py PATH BLOCKS [OFFSET]

OFFSET is where the first block lies, in bytes. One line a block: `index writer block number`, or `index
damaged`.
"""

import mmap
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hack.checker.blocks import BLOCK_BYTES, decode


def describe(index: int, data: bytes) -> str:
    block = decode(data)
    return f"{index} damaged" if block is None else f"{index} {block.writer} {block.index} {block.number}"


def main() -> None:
    offset = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    file = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, BLOCK_BYTES)
    for index in range(int(sys.argv[2])):
        os.preadv(file, [buffer], offset + index * BLOCK_BYTES)
        print(describe(index, buffer[:]))


if __name__ == "__main__":
    main()
