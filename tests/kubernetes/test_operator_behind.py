"""Guards of nodes that are cordoned while the list of records is behind."""

from csi.operator.guards import Guards, guard_name
from csi.operator.letting_go import Ground
from csi.operator.resources import WAITS, parse_budget
from replication.kubernetes.access import NAMESPACE
from replication.kubernetes.client import Client
from replication.kubernetes.watched import Watched
from replication.model import Volume
from tests.kubernetes.patience import CLOCK
from tests.unit.control.records import volume
from tests.unit.csi.operator.values import machine

BUDGETS = f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets"


def reconcile(admin: Client, listed: Volume, now: Volume) -> tuple[int, str]:
    """Node a is cordoned. How many guards have to stay there, and what it waits for."""
    budgets = Watched(admin, BUDGETS, parse_budget, CLOCK)
    machines = [machine("a", cordoned=True), machine("b"), machine("c")]
    guards = Guards(admin, CLOCK, NAMESPACE, budgets, {now.id: now}.__getitem__)
    try:
        guards.reconcile(machines, (), (), Ground([listed], {}, frozenset()))
        found = admin.get(f"{BUDGETS}/{guard_name('a')}")
    finally:
        guards.reconcile((), (), (), Ground([], {}, frozenset()))
        budgets.close()
    return found["spec"]["minAvailable"], found["metadata"]["annotations"][WAITS]


def test_a_node_that_may_go_by_the_record_is_let_go(admin: Client) -> None:
    assert reconcile(admin, volume(), volume()) == (0, "")


def test_a_replica_that_was_lost_meanwhile_keeps_it(admin: Client) -> None:
    waits = "volume data: 1 in sync on nodes that stay, 2 needed"
    assert reconcile(admin, volume(), volume("iis")) == (1, waits)
