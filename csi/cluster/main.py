"""`trilith-controller`: the control plane of a Kubernetes cluster."""

import logging
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import click

from csi.claims import Policy
from csi.cluster.process import Controller, Options
from csi.endpoint import parse_endpoint
from csi.main import endpoint_option, report_errors
from replication.clock import SystemClock
from replication.control.control import build_control
from replication.control.metrics import parse_address
from replication.control.store.kubernetes import KubernetesStore
from replication.kubernetes.access import find_access, find_namespace
from replication.kubernetes.client import Client
from replication.model import Node
from replication.pki import Identity, cluster_of, read_identity
from replication.rpc.client import NodeClient
from replication.threads import end_with_any_thread

log = logging.getLogger("trilith-controller")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Log every step, not decisions only.")
def main(*, verbose: bool) -> None:
    """Run Trilith's control plane in a Kubernetes cluster."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


@main.command()
@endpoint_option
@click.option(
    "--certs",
    envvar="TRILITH_CERTS",
    default="/etc/trilith/pki",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the control plane's certificate: ca.crt, tls.crt, tls.key.",
)
@click.option(
    "--web",
    metavar="HOST:PORT",
    default="0.0.0.0:9810",
    show_default=True,
    help="Where /metrics, /healthz and /readyz are served.",
)
@click.option("--namespace", help="Of this installation; by default the pod's own.")
@click.option(
    "--claims",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.WITH_ANNOTATION.value,
    show_default=True,
    help="Which claims are met, beside generic ephemeral volumes.",
)
@report_errors
def run(endpoint: str, certs: Path, web: str, namespace: str | None, claims: str) -> None:
    """Serve CSI, record failures, and, while leader, repair and reconcile, until SIGTERM.

    Any number may run; records are in Kubernetes.
    """
    end_with_any_thread()
    place = namespace or find_namespace()
    options = Options(parse_endpoint(endpoint), parse_address(web), place, Policy(claims))
    _run(read_identity(certs), options)


def _run(identity: Identity, options: Options) -> None:
    clock, cluster = SystemClock(), cluster_of(identity.certificate_pem)
    client = Client(find_access())
    store = KubernetesStore(client, cluster, clock, options.namespace)
    controller = Controller(build_control(store, partial(_connect, identity), clock), client, clock, options)
    stop = threading.Event()  # safe in a handler, because this thread never waits for it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("cluster %s: serving, web at port %d", cluster, controller.web.port)
    controller.run(stop)
    store.close()


def _connect(identity: Identity, node: Node) -> NodeClient:
    return NodeClient(node, identity)


if __name__ == "__main__":
    main()
