"""What stories of getting back to health share."""

import contextlib
from collections.abc import Iterator

from replication.model import Volume
from tests.lab.stand import Checked, Stand


@contextlib.contextmanager
def setting(stand: Stand, name: str, value: str) -> Iterator[None]:
    """Said for the cluster by the administrator's command, and taken back."""
    stand.site.run_cli("settings", "set", f"--{name}", value)
    try:
        yield
    finally:
        stand.site.run_cli("settings", "set", "--unset", name)


def write_elsewhere(checked: Checked, number: int) -> None:
    """4 MiB where the checker does not write, and no other `number` either."""
    where = f"of={checked.device} bs=1M seek={16 + 8 * number} count=4"
    checked.machine.succeed(f"dd if=/dev/urandom {where} oflag=direct status=none")
    checked.wait_for_writes(100)


def place_of(volume: Volume, node: str) -> str:
    """The logical volume of `node`'s replica."""
    replica = next(each for each in volume.replicas if each.node == node)
    return f"/dev/{replica.volume_group}/{volume.id}_{replica.id}"
