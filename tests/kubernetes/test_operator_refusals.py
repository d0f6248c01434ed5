"""One object that the API server does not take holds up no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.kubernetes.access import Json
from replication.kubernetes.client import Client, Refused
from tests.kubernetes.patience import CLOCK, wait_for
from tests.kubernetes.test_operator_pools import CLASSES, cluster, make_pool, names, wait_for_condition

POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
REFUSED = "trilith-refused"


def make_class(name: str) -> Json:
    return {"kind": "StorageClass", "metadata": {"name": name}, "provisioner": "example.org"}


@contextmanager
def refusing(admin: Client, name: str) -> Iterator[None]:
    """An administrator's policy, against StorageClasses of this name."""
    rule = {
        "apiGroups": ["storage.k8s.io"],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["storageclasses"],
    }
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"object.metadata.name != '{name}'", "reason": "Forbidden"}],
    }
    bound = {"policyName": "refusing", "validationActions": ["Deny"]}
    admin.create(
        POLICIES, {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "refusing"}, "spec": spec}
    )
    binding = {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "refusing"}, "spec": bound}
    admin.create(BINDINGS, binding)
    try:
        yield
    finally:
        for path in (BINDINGS, POLICIES):
            admin.delete(f"{path}/refusing")


def is_refused(admin: Client, name: str) -> bool:
    try:
        admin.create(f"{CLASSES}?dryRun=All", make_class(name))
    except Refused:
        return True
    return False


def test_a_class_that_is_refused_holds_up_no_other_pool_and_is_made_when_it_may_be(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    with cluster(plane, admin, ["m1"], tmp_path):
        with refusing(admin, REFUSED):
            wait_until(lambda: is_refused(admin, REFUSED), "the policy holds", timeout=60, clock=CLOCK)
            make_pool(admin, "refused", replicas=1, nodeSelector={"no": "such"})
            said = wait_for_condition(admin, {"status": "False", "reason": "ClassRefused"}, "refused")
            assert f"StorageClass {REFUSED} is refused: " in said["message"]
            assert "ValidatingAdmissionPolicy 'refusing'" in said["message"]
            make_pool(admin, replicas=1)
            wait_for_condition(admin, {"status": "True"})
            assert names(admin, CLASSES) == ["trilith-nvme"]
        wait_for(lambda: names(admin, CLASSES), ["trilith-nvme", REFUSED])
        wait_for_condition(admin, {"status": "False", "reason": "NotEnoughNodes"}, "refused")
