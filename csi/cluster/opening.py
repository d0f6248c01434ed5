"""A control plane for one command, with what the cluster keeps: records, and an authority for identities."""

from functools import partial

from csi.certificates.authority import read_authority
from csi.certificates.places import Places
from replication.clock import SystemClock
from replication.control.control import Control, build_control, connect
from replication.control.store.kubernetes import KubernetesStore
from replication.errors import FailedPrecondition, NotFound
from replication.kubernetes.access import find_access, find_namespace
from replication.kubernetes.client import Client
from replication.pki import Role

NAME = "administrator"
DAYS = 1


def open_in_cluster() -> Control:
    """FailedPrecondition where no controller has run yet: the first one makes the authority."""
    client, clock, namespace = Client(find_access()), SystemClock(), find_namespace()
    try:
        authority = read_authority(client, Places(namespace), clock)
    except NotFound as error:
        raise FailedPrecondition(
            f"Trilith is not installed in namespace {namespace}, or no controller has run yet: {error}"
        ) from error
    store = KubernetesStore(client, authority.cluster_id, clock, namespace)
    return build_control(store, partial(connect, authority.issue(NAME, Role.CONTROL, DAYS)), clock)
