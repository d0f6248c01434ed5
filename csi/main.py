"""`trilith-csi`: the CSI plugin, as the cluster's controller or as one node's."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ParamSpec

import click

from csi.endpoint import parse_endpoint
from csi.server import Server, serve
from replication.clock import SystemClock
from replication.errors import TrilithError
from replication.identities import FolderIdentity
from replication.logs import start_logging
from replication.model import Node
from replication.threads import end_with_any_thread

if TYPE_CHECKING:
    from csi.certificates.asking import Asker

log = logging.getLogger("trilith-csi")

GRACE = 30.0
"""Seconds that calls under way are given to end when the plugin is stopped."""

LOOK = 1.0

Parameters = ParamSpec("Parameters")

endpoint_option = click.option(
    "--endpoint",
    envvar="CSI_ENDPOINT",
    required=True,
    help="Where to listen: unix:///PATH.sock, or tls://HOST:PORT with the cluster's certificates.",
)


certs_option = click.option(
    "--certs",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of this node's certificate: ca.crt, tls.crt, tls.key.",
)
node_option = click.option(
    "--node", "name", envvar="NODE_NAME", required=True, help="This node's name in the cluster."
)


def report_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """One line instead of a traceback for what an administrator can mend."""

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TrilithError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Log probes, too.")
def main(*, verbose: bool) -> None:
    """Serve Trilith's volumes by the Container Storage Interface."""
    start_logging(verbose=verbose)


@main.command()
@endpoint_option
@click.option(
    "--state",
    envvar="TRILITH_STATE",
    default="/var/lib/trilith",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the control plane's store and identity.",
)
@click.option(
    "--store",
    envvar="TRILITH_STORE",
    type=click.Choice(["sqlite", "kubernetes"]),
    default="sqlite",
    show_default=True,
    help="Where records are: in the state folder, or in Kubernetes.",
)
@click.option(
    "--claims",
    type=click.Choice(["Always", "WithAnnotation", "Never"]),
    default="Always",
    show_default=True,
    help="Which claims are met, beside generic ephemeral volumes; all but Always ask Kubernetes.",
)
@report_errors
def controller(endpoint: str, state: Path, store: str, claims: str) -> None:
    """Serve Identity and Controller: one or more for a cluster."""
    from csi.claims import KubernetesClaims, Policy, admit_all, make_check  # noqa: PLC0415 (as below)
    from csi.controller import register_controller  # noqa: PLC0415 (nodes need no control plane)
    from replication.control.control import open_control  # noqa: PLC0415
    from replication.control.store.opening import StoreKind  # noqa: PLC0415
    from replication.kubernetes.access import find_access  # noqa: PLC0415
    from replication.kubernetes.client import Client  # noqa: PLC0415

    where = parse_endpoint(endpoint)
    policy = Policy(claims)
    always = policy is Policy.ALWAYS
    check = admit_all if always else make_check(policy, KubernetesClaims(Client(find_access())))
    control = open_control(state, kind=StoreKind(store))
    register = partial(register_controller, control, check_claim=check)
    _run(serve(register, where, partial(FolderIdentity, state / "pki")), endpoint)
    control.store.close()


@main.command()
@endpoint_option
@click.option("--agent", required=True, metavar="HOST:PORT", help="Where this node's agent listens.")
@certs_option
@node_option
@click.option("--renew", is_flag=True, help="Renew the certificate in that folder, as `identity` gets it.")
@report_errors
def node(endpoint: str, agent: str, certs: Path, name: str, *, renew: bool) -> None:
    """Serve Identity and Node: one on every node."""
    from csi.node import register_node  # noqa: PLC0415 (each role loads its own half)
    from replication.rpc.client import NodeClient  # noqa: PLC0415

    where = parse_endpoint(endpoint)
    identity = FolderIdentity(certs)
    if renew:
        end_with_any_thread()  # a plugin that does not renew looks well until its certificate is over
        asker = _make_asker(name, certs)
        threading.Thread(target=asker.run, args=(threading.Event(),), name="renewal", daemon=True).start()
    with NodeClient(Node(name, agent, data_address=""), identity) as client:
        _run(serve(partial(register_node, client, name), where, lambda: identity), endpoint)


@main.command()
@certs_option
@node_option
@report_errors
def identity(certs: Path, name: str) -> None:
    """Get this node's certificate from Kubernetes, unless the folder has a good one.

    It waits for a controller to sign what is asked for; only a pod of the chart, on that node, is
    given it.
    """
    _make_asker(name, certs).wait(threading.Event())  # a signal ends it: nothing is half done


@main.command()
@click.option(
    "--remove-everything", is_flag=True, help="Also all volumes with their data, and all that is recorded."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Seconds until it gives up; what was done stays done.",
)
@report_errors
def uninstall(timeout: float, *, remove_everything: bool) -> None:
    """Give disks back before the chart goes: what its pre-delete hook runs.

    Refused while there are volumes, unless everything is to be removed.
    """
    from csi.removal.removing import Removal  # noqa: PLC0415 (once in the life of a cluster)
    from replication.kubernetes.access import find_access, find_namespace  # noqa: PLC0415
    from replication.kubernetes.client import Client  # noqa: PLC0415

    removal = Removal(Client(find_access()), find_namespace(), SystemClock())
    removal.run(everything=remove_everything, timeout=timeout)


def _make_asker(name: str, certs: Path) -> "Asker":
    from csi.certificates.asking import Asker  # noqa: PLC0415 (outside of Kubernetes nobody needs it)
    from csi.certificates.places import Places  # noqa: PLC0415
    from replication.kubernetes.access import find_access, find_namespace  # noqa: PLC0415
    from replication.kubernetes.client import Client  # noqa: PLC0415

    return Asker(Client(find_access()), Places(find_namespace()), name, certs, SystemClock())


def _run(server: Server, endpoint: str) -> None:
    """Until SIGTERM or SIGINT; calls under way are finished first."""
    asked: SimpleQueue[int] = SimpleQueue()  # not an Event: its lock is not safe in a signal handler
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.put(number))
    log.info("serving on %s", endpoint)
    _wait(asked)
    log.info("stopping: finishing the calls under way")
    server.stop(GRACE)


def _wait(asked: SimpleQueue[int]) -> None:
    """A look now and then: Python runs handlers in this thread only, and a wait without end may not wake."""
    while True:
        with suppress(Empty):
            asked.get(timeout=LOOK)
            return


if __name__ == "__main__":
    main()
