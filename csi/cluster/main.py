"""`trilith-controller`: the control plane of a Kubernetes cluster."""

import logging
import signal
import threading
from functools import partial

import click

from csi.admission.admission import Admission
from csi.admission.admission import Options as AdmissionOptions
from csi.admission.server import ANYWHERE
from csi.certificates.keeper import open_keeper
from csi.claims import Policy
from csi.cluster.process import Controller, Options
from csi.endpoint import parse_endpoint
from csi.failover.deciding import Confirm, parse_policy
from csi.main import endpoint_option, report_errors
from csi.operator.nodes import GRACE_SECONDS
from replication.clock import SystemClock
from replication.control.control import build_control, connect
from replication.control.metrics import parse_address
from replication.control.store.kubernetes import KubernetesStore
from replication.errors import FailedPrecondition
from replication.kubernetes.access import find_access, find_namespace
from replication.kubernetes.client import Client
from replication.logs import start_logging
from replication.threads import end_with_any_thread

log = logging.getLogger("trilith-controller")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Log every step, not decisions only.")
def main(*, verbose: bool) -> None:
    """Run Trilith's control plane in a Kubernetes cluster."""
    start_logging(verbose=verbose)


@main.command()
@endpoint_option
@click.option(
    "--sidecars",
    metavar="ENDPOINT",
    help="Where CSI is served besides, ready while this process leads, so that sidecars need no election.",
)
@click.option(
    "--web",
    metavar="HOST:PORT",
    default="0.0.0.0:9810",
    show_default=True,
    help="Where /metrics, /healthz and /readyz are served.",
)
@click.option(
    "--webhook-port",
    type=click.IntRange(0, 65535),
    default=9443,
    show_default=True,
    help="Where the API server asks before it writes; 0: any port.",
)
@click.option("--namespace", help="Of this installation; by default the pod's own.")
@click.option(
    "--claims",
    type=click.Choice([policy.value for policy in Policy]),
    default=Policy.WITH_ANNOTATION.value,
    show_default=True,
    help="Which claims are met, beside generic ephemeral volumes.",
)
@click.option(
    "--failover",
    type=click.Choice([*(each.value for each in Confirm), "off"]),
    default=Confirm.LEASE.value,
    show_default=True,
    help="Pods of a dead node are freed when its peers miss it and its kubelet's Lease has run out; or "
    "by the peers' word alone; or never.",
)
@click.option(
    "--node-grace",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=GRACE_SECONDS,
    show_default=True,
    help="How long a node that was deleted from Kubernetes may be silent until it has left for good.",
)
@report_errors
def run(  # noqa: PLR0913 (an option each)
    endpoint: str,
    web: str,
    webhook_port: int,
    namespace: str | None,
    claims: str,
    failover: str,
    *,
    node_grace: float,
    sidecars: str | None,
) -> None:
    """Serve CSI, record failures, and, while leader, repair and reconcile, until SIGTERM.

    Any number may run; records are in Kubernetes, and so is the authority that certificates are of.
    """
    end_with_any_thread()
    place = namespace or find_namespace()
    options = Options(
        parse_endpoint(endpoint),
        parse_address(web),
        place,
        Policy(claims),
        node_grace=node_grace,
        failover=parse_policy(failover),
        sidecars=parse_endpoint(sidecars) if sidecars else None,
    )
    _run(options, webhook_port)


def _run(options: Options, webhook_port: int) -> None:
    clock, access = SystemClock(), find_access()
    client = Client(access)
    stop = threading.Event()  # safe in a handler, because this thread never waits for it
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    keeper = open_keeper(client, options.namespace, clock, stop.is_set)
    if keeper is None:
        return
    store = KubernetesStore(client, keeper.cluster_id, clock, options.namespace)
    require_home(store.namespace, options.namespace)
    control = build_control(store, partial(connect, keeper.read_control), clock)
    asked = AdmissionOptions(options.namespace, (ANYWHERE, webhook_port))
    try:
        admission = Admission(access, asked, control.volumes.list, keeper.read_webhook, clock)
    except OSError as error:
        raise FailedPrecondition(f"port {webhook_port}: cannot be listened at: {error.strerror}") from error
    parts = [("certificates", keeper.run), ("admission", admission.run)]
    controller = Controller(control, client, clock, options, parts)
    log.info("cluster %s: serving, web at port %d", keeper.cluster_id, controller.web.port)
    controller.run(stop)
    store.close()


def require_home(locks: str, namespace: str) -> None:
    """FailedPrecondition where another installation left its records: we may not use its locks."""
    if locks != namespace:
        raise FailedPrecondition(
            f"the records in Kubernetes are of an installation in namespace {locks}, where their locks are, "
            f"and this one is in {namespace}: install Trilith in {locks} to go on with them, or remove it "
            f"there with uninstall.removeEverything=true"
        )


if __name__ == "__main__":
    main()
