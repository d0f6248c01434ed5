"""`trilith`, the administrator's command, also where the cluster and not a folder gives it an identity.

So it works in a pod of the controllers, which is what `kubectl trilith` does (deploy/kubectl-trilith), and
wherever a kubeconfig may read the authority's Secret and agents can be reached.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from replication.cli.main import main as command
from replication.cli.session import World

if TYPE_CHECKING:
    from replication.control.control import Control


def main() -> None:
    command(obj=World(open_control=open_control))


def open_control(state: Path, store: str) -> "Control":
    """Of the folder, if it has an identity; else of the Kubernetes cluster."""
    from csi.cluster.opening import open_in_cluster  # noqa: PLC0415 (gRPC, which --help does not need)
    from replication.control import control  # noqa: PLC0415
    from replication.control.store.opening import StoreKind  # noqa: PLC0415

    kind = StoreKind(store)
    if kind is StoreKind.KUBERNETES and not (state / "pki").exists():
        return open_in_cluster()
    return control.open_control(state, kind=kind)
