"""The sidecars have no right that they do not use, by what all tests before this one, the last, had them do.

A watch is logged when it ends: all have when Trilith is uninstalled.
"""

import pytest

from hack.helm.chart import NAMESPACE, render
from hack.kubernetes.installation import Installation
from tests.cluster.pods import Cluster
from tests.kubernetes.rights import UPSTREAM, Right, find_used, list_asked, list_rights

ACCOUNT = "trilith-control"
SIDECARS = ("csi-provisioner", "csi-attacher", "csi-resizer")
CORE, STORAGE = "", "storage.k8s.io"

WATCHED = {
    *(Right("list", CORE, each) for each in ("persistentvolumes", "persistentvolumeclaims", "nodes")),
    *(
        Right("list", STORAGE, each)
        for each in ("storageclasses", "volumeattributesclasses", "csinodes", "volumeattachments")
    ),
    Right("list", STORAGE, "csistoragecapacities", NAMESPACE),
}
"""A watch begins with what there is. Where a server does not send that, client-go lists it first."""

UPSTREAMS = {
    *(Right("get", right.group, right.resource, right.namespace) for right in WATCHED),
    *(Right(verb, CORE, "events") for verb in ("list", "watch", "update")),
    Right("update", CORE, "persistentvolumeclaims"),
    Right("patch", STORAGE, "csistoragecapacities", NAMESPACE),
}
"""As the rules of their own releases give them, for what is rare: a class of volume attributes is got, a
claim's node taken back, when a volume is made."""

OLD = {
    Right("update", "coordination.k8s.io", "leases", NAMESPACE, name)
    for name in (
        "csi-trilith-io",
        "external-attacher-leader-csi-trilith-io",
        "external-resizer-csi-trilith-io",
    )
}
"""Of sidecars with elections, which an installation of before has during an upgrade: see the rule itself."""


@pytest.mark.more
def test_every_right_of_the_sidecars_is_used(installation: Installation, whole: Cluster) -> None:
    given = list_rights([each for each in render() if each["metadata"]["name"] == UPSTREAM], ACCOUNT)
    assert given >= WATCHED | UPSTREAMS | OLD
    pods = ("pods", "--namespace", NAMESPACE)
    whole.wait(lambda: whole.kubectl.get(*pods) == [], "the last of our pods gone")
    user = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    asked = list_asked(installation.kubernetes.audit.read_lines(), user, SIDECARS)
    assert sorted(given - find_used(given, asked) - WATCHED - UPSTREAMS - OLD) == []
