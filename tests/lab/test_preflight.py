"""`trilith node check` on real kernels: what it says is what is so."""

import json

import pytest

from hack.lab.cluster import Cluster
from hack.lab.paths import REPOSITORY, VENV
from hack.lab.vm import Machine
from replication.kernel.modules import MODULES
from replication.kubernetes.access import Json

pytestmark = pytest.mark.lab


@pytest.mark.cluster(nodes=1)
def test_a_machine_that_has_everything_gets_its_modules_loaded(cluster: Cluster) -> None:
    machine = cluster["m1"]
    status, found = check(machine, "--load")
    assert [each for each in found if each["state"] == "missing"] == []
    assert status == 0
    for module in MODULES:
        machine.succeed(f"test -d /sys/module/{module.replace('-', '_')}")
    assert machine.succeed("cat /sys/module/nvme_tcp/parameters/wq_unbound").strip() == "Y"


@pytest.mark.cluster(nodes=1)
def test_a_module_that_cannot_be_loaded_is_named_with_its_command(cluster: Cluster) -> None:
    machine = cluster["m1"]
    machine.write_file("/etc/modprobe.d/missing.conf", "install nvmet-tcp /bin/false\n")
    machine.succeed("modprobe --remove nvmet-tcp || ! grep nvmet_tcp /proc/modules")
    status, found = check(machine, "--load")
    machine.succeed("rm /etc/modprobe.d/missing.conf")
    (missing,) = (each for each in found if each["state"] == "missing")
    assert status == 5
    assert missing["what"] == "module nvmet-tcp"
    assert missing["remedy"].startswith("apt-get install --yes linux-image-")


@pytest.mark.cluster(nodes=1, kernel="6.1")
def test_an_old_kernel_is_named_with_where_a_newer_one_is(cluster: Cluster) -> None:
    status, found = check(cluster["m1"])
    kernel = next(each for each in found if each["what"] == "kernel")
    assert status == 5
    assert kernel["found"].endswith("older than 6.12")
    assert "bookworm-backports" in kernel["remedy"]


def check(machine: Machine, *words: str) -> tuple[int, list[Json]]:
    program = f"PYTHONPATH={REPOSITORY} {VENV}/bin/trilith --output json node check"
    done = machine.run(" ".join((program, *words)), timeout=120)
    found: list[Json] = json.loads(done.stdout)["findings"]
    return done.status, found
