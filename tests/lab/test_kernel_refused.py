"""A kernel that cannot keep Trilith's promises is refused at start, by name, with what to install."""

from pathlib import Path

import pytest

from hack.lab.cluster import Cluster
from hack.lab.paths import REPOSITORY, VENV
from hack.lab.vm import Completed, Machine
from replication.pki import CertificateAuthority, Role, write_identity

pytestmark = pytest.mark.lab
_CERTS = "/run/trilith/certs"


@pytest.mark.cluster(nodes=1, kernel="6.1")
def test_debian_12s_own_kernel_is_refused_by_name(cluster: Cluster, tmp_path: Path) -> None:
    machine = cluster["m1"]
    release = machine.succeed("uname -r").strip()
    ended = start_agent(machine, tmp_path)
    assert ended.status == 1
    assert release.startswith("6.1.")
    assert f"kernel {release} is older than 6.12" in ended.stderr
    assert "install the package linux-image-amd64" in ended.stderr
    assert "bookworm-backports" in ended.stderr
    assert "Traceback" not in ended.stderr
    machine.fail("grep -e raid1 -e nvmet /proc/modules")


@pytest.mark.cluster(nodes=1)
@pytest.mark.parametrize("module", ["dm-multipath", pytest.param("nvmet-tcp", marks=pytest.mark.more)])
def test_a_kernel_without_a_module_is_told_which(cluster: Cluster, tmp_path: Path, module: str) -> None:
    machine = cluster["m1"]
    machine.write_file("/etc/modprobe.d/missing.conf", f"install {module} /bin/false\n")
    ended = start_agent(machine, tmp_path)
    assert ended.status == 1
    assert f"the kernel module {module} cannot be loaded" in ended.stderr
    assert "it is in the package linux-image-amd64" in ended.stderr
    assert "Traceback" not in ended.stderr


def start_agent(machine: Machine, folder: Path) -> Completed:
    """How it ended: it has to."""
    authority = CertificateAuthority.create(folder / "ca", "lab")
    write_identity(folder / "node", authority.issue(machine.name, Role.NODE))
    for path in (folder / "node").iterdir():
        machine.write_file(f"{_CERTS}/{path.name}", path.read_bytes())
    address = f"--listen {machine.address}:7443 --data-address {machine.address}"
    agent = f"{VENV}/bin/trilith-agent --certs {_CERTS} {address}"
    return machine.run(f"PYTHONPATH={REPOSITORY} {agent}", timeout=120)
