"""Inside a machine: print what a writer tells, each line after the seconds since boot at which it came.

    python -I -S listen.py HOST:PORT

For a writer that will be cut off from every other machine. Standard library only.
"""

import socket
import sys
import time


def main() -> None:
    host, port = sys.argv[1].rsplit(":", 1)
    with socket.create_server((host, int(port))) as listener:
        connection, _ = listener.accept()
    with connection, connection.makefile("r", encoding="ascii") as lines:
        for line in lines:
            print(f"{time.clock_gettime(time.CLOCK_BOOTTIME):.3f} {line}", end="", flush=True)


if __name__ == "__main__":
    main()
