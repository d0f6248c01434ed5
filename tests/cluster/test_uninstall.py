"""Trilith taken out of the cluster, which is the last that happens to it: see conftest.py."""

import pytest

from hack.helm.chart import NAMESPACE
from hack.kubernetes.installation import Installation
from hack.lab.errors import LabError
from hack.lab.remains import traces
from tests.cluster.pods import PATH, STORAGE_CLASS, Cluster, make_claim, make_pod, of_claim


@pytest.mark.more
def test_uninstalling_is_refused_with_volumes_and_removes_all_when_told(
    installation: Installation, whole: Cluster
) -> None:
    whole.apply(make_claim("kept", STORAGE_CLASS), make_pod("user", of_claim("kept")))
    whole.wait_for_condition("user")
    whole.run("user", f"echo kept > {PATH}/file && sync")
    with pytest.raises(LabError):
        installation.uninstall()
    said = whole.kubectl.run("logs", "job/trilith-uninstall", "--namespace", NAMESPACE)
    assert "there are volumes: " in said
    assert whole.run("user", f"cat {PATH}/file") == "kept\n"
    whole.delete("pods", "user")
    installation.roll_back()
    installation.upgrade("uninstall.removeEverything=true")
    installation.uninstall()
    assert whole.list("persistentvolumeclaims") == []
    names = [found["metadata"]["name"] for found in whole.list("customresourcedefinitions")]
    assert [name for name in names if name.endswith("trilith.io")] == []
    for machine in whole.machines.machines:
        assert traces(machine) == ""
        assert machine.succeed(f"blkid -p {machine.disk_path(0)} || test $? = 2") == "", "an empty disk"
