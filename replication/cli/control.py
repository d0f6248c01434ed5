"""`trilith control`: the control plane as a process of its own."""

import logging
import signal
import threading

import click

from replication.cli.session import Session, pass_session
from replication.control.metrics import parse_address, serve_metrics
from replication.control.reconciler import Reconciler
from replication.logs import start_logging
from replication.threads import end_with_any_thread

log = logging.getLogger("trilith-control")


@click.group()
def command() -> None:
    """Run the control plane."""


@command.command()
@click.option("--verbose", is_flag=True, help="Log every step, not decisions only.")
@click.option("--metrics", metavar="HOST:PORT", help="Serve a Prometheus server at http://HOST:PORT/metrics.")
@pass_session
def run(session: Session, *, verbose: bool, metrics: str | None) -> None:
    """Watch over volumes until SIGTERM: record lost replicas, bring them back, finish what was begun.

    While it does not run, I/O goes on until a replica fails; then writes wait for it.
    """
    start_logging(verbose=verbose)
    end_with_any_thread()
    reconciler = Reconciler(session.control, session.clock)
    if metrics is not None:
        serve_metrics(reconciler.metrics, parse_address(metrics))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("cluster %s: watching over its volumes", session.control.store.cluster())
    reconciler.run(stop)
    log.info("stopped")
