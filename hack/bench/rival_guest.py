"""Inside a machine: the links of a hand-made raid1, for rival.py. They are as Trilith's own, without keys.

    python -I -S rival_guest.py export ADDRESS DEVICE
    python -I -S rival_guest.py connect ADDRESS…        prints the kernel name of each namespace
    python -I -S rival_guest.py disconnect ADDRESS…
    python -I -S rival_guest.py withdraw ADDRESS

Standard library only.
"""

import sys
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from replication.kernel.nvme import Connection, NvmeHost
from replication.kernel.nvmet import Export, Nvmet
from replication.kernel.sysfs import Tree

_HOST_NQN = "nqn.2026-01.io.bench:rival-host"
_PORT = 4420  # the agent's own: one listener for both


def nqn_of(address: str) -> str:
    return f"nqn.2026-01.io.bench:rival:{address}"


def export(address: str, device: str) -> None:
    nqn = nqn_of(address)
    unique = str(uuid.uuid5(uuid.NAMESPACE_URL, nqn))
    Nvmet(Tree()).ensure_export(Export(nqn, device, _HOST_NQN, address, _PORT, unique))


def withdraw(address: str) -> None:
    Nvmet(Tree()).fence(nqn_of(address))


def connect(*addresses: str) -> None:
    host = NvmeHost(Tree())
    for address in addresses:
        print(host.ensure_connected(Connection(nqn_of(address), address, _PORT, _HOST_NQN)))


def disconnect(*addresses: str) -> None:
    host = NvmeHost(Tree())
    for address in addresses:
        host.disconnect(nqn_of(address))


def main() -> None:
    acts: dict[str, Callable[..., None]] = {
        "export": export,
        "withdraw": withdraw,
        "connect": connect,
        "disconnect": disconnect,
    }
    acts[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
