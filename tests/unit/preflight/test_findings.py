"""What a machine lacks, and the command for it, as functions of what was read of it."""

from dataclasses import replace

import pytest

from replication.kernel.modules import MODULES
from replication.preflight.findings import Facts, Finding, State, is_ready, list_findings
from replication.preflight.system import Family, System, parse_os_release

DEBIAN = System(Family.DEBIAN, "Debian 12", "12")
GOOD = Facts(
    release="6.12.95+deb12-amd64",
    system=DEBIAN,
    modules=tuple((name, "") for name in MODULES),
    kubelet_modules=(("loop", ""),),
    missing_packages=(),
    multipath="Y",
    missed_options=(),
    io_controller=True,
    tracing=True,
)
NO_NVMET = tuple((name, "not found" if name.startswith("nvmet") else "") for name in MODULES)


def of_state(facts: Facts, state: State) -> list[Finding]:
    return [finding for finding in list_findings(facts) if finding.state is state]


def test_a_machine_that_has_everything_is_ready() -> None:
    findings = list_findings(GOOD)
    assert {finding.state for finding in findings} == {State.OK}
    assert [finding.remedy for finding in findings if finding.remedy] == []
    assert is_ready(findings)


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (replace(GOOD, release="6.11.9-amd64"), ["kernel"]),
        (replace(GOOD, modules=NO_NVMET), ["module nvmet", "module nvmet-tcp"]),
        (replace(GOOD, multipath="N"), ["nvme_core.multipath"]),
        (replace(GOOD, missing_packages=(("lvm2", ("lvm",)),)), ["package lvm2"]),
    ],
)
def test_without_any_of_these_no_agent_starts(facts: Facts, what: list[str]) -> None:
    missing = of_state(facts, State.MISSING)
    assert [finding.what for finding in missing] == what
    assert all(finding.remedy for finding in missing)
    assert not is_ready(list_findings(facts))


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (replace(GOOD, missed_options=(("nvme-tcp", "wq_unbound=Y"),)), "option nvme-tcp wq_unbound=Y"),
        (replace(GOOD, io_controller=False), "cgroup v2, io"),
        (replace(GOOD, tracing=False), "tracefs"),
        (replace(GOOD, kubelet_modules=(("loop", "not found"),)), "module loop"),
    ],
)
def test_without_these_it_works_and_says_what_is_worse(facts: Facts, what: str) -> None:
    (finding,) = of_state(facts, State.WARNING)
    assert finding.what == what
    assert finding.remedy
    assert is_ready(list_findings(facts))


def test_a_core_that_is_not_loaded_yet_is_no_fault() -> None:
    assert is_ready(list_findings(replace(GOOD, multipath=None)))


def test_without_modprobe_nobody_is_told_to_install_a_kernel() -> None:
    facts = replace(GOOD, modules=NO_NVMET, missing_packages=(("kmod", ("modprobe",)),))
    assert {finding.remedy for finding in of_state(facts, State.MISSING)} == {"apt-get install --yes kmod"}


def remedy(facts: Facts, family: Family, version: str = "") -> str:
    """The only one."""
    found = list_findings(replace(facts, system=System(family, "", version)))
    (remedy,) = {finding.remedy for finding in found if finding.remedy}
    return remedy


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (Family.DEBIAN, "apt-get install --yes linux-image-$(dpkg --print-architecture)"),
        (Family.UBUNTU, "apt-get install --yes linux-modules-extra-6.14.0-1012-azure"),
        (
            Family.RED_HAT,
            "dnf install --assumeyes kernel-modules-6.14.0-1012-azure kernel-modules-extra-",
        ),
        (Family.AZURE_LINUX, "tdnf install -y kernel"),
        (Family.TALOS, '{"machine": {"kernel": {"modules": [{"name": "nvmet"}, {"name": "nvmet_tcp"}]}}}'),
        (Family.OTHER, "install the modules nvmet, nvmet-tcp of kernel 6.14.0-1012-azure"),
    ],
)
def test_modules_are_installed_as_the_distribution_has_them(family: Family, words: str) -> None:
    assert words in remedy(replace(GOOD, release="6.14.0-1012-azure", modules=NO_NVMET), family)


@pytest.mark.parametrize(
    ("family", "version", "words"),
    [
        (Family.DEBIAN, "12", "-t bookworm-backports"),
        (Family.DEBIAN, "13", "apt-get install --yes linux-image"),
        (Family.UBUNTU, "24.04", "linux-generic-hwe-24.04"),
        (Family.RED_HAT, "9.4", "kernel-ml"),
        (Family.AZURE_LINUX, "3.0", "kernel 6.12 or newer"),
        (Family.TALOS, "1.8", "talosctl upgrade"),
        (Family.OTHER, "", "6.12 or newer"),
    ],
)
def test_a_newer_kernel_is_had_as_the_distribution_has_it(family: Family, version: str, words: str) -> None:
    assert words in remedy(replace(GOOD, release="6.6.1"), family, version)


@pytest.mark.parametrize("family", Family)
def test_there_is_something_to_do_on_every_distribution(family: Family) -> None:
    everything = replace(
        GOOD,
        release="6.1.0",
        system=System(family, "", "1"),
        modules=NO_NVMET,
        missing_packages=(("lvm2", ("lvm",)),),
        multipath="N",
        missed_options=(("nvme-tcp", "wq_unbound=Y"),),
        io_controller=False,
        tracing=False,
    )
    wrong = [finding for finding in list_findings(everything) if finding.state is not State.OK]
    assert len(wrong) == 8
    assert all(finding.remedy and "{" not in finding.remedy.partition("--patch")[0] for finding in wrong)


def test_talos_is_told_the_option_with_the_module() -> None:
    words = remedy(replace(GOOD, missed_options=(("nvme-tcp", "wq_unbound=Y"),)), Family.TALOS)
    assert '{"name": "nvme_tcp", "parameters": ["wq_unbound=Y"]}' in words


UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.2 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
ROCKY = 'NAME=\'Rocky Linux\'\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="10.0"\n'
TALOS = 'NAME="Talos"\nID=talos\nVERSION_ID=v1.9.0\nPRETTY_NAME="Talos (v1.9.0)"\n'


@pytest.mark.parametrize(
    ("text", "system"),
    [
        (UBUNTU, System(Family.UBUNTU, "Ubuntu 24.04.2 LTS", "24.04")),
        (ROCKY, System(Family.RED_HAT, "an unknown system", "10.0")),
        (TALOS, System(Family.TALOS, "Talos (v1.9.0)", "v1.9.0")),
        ('ID=azurelinux\nVERSION_ID="3.0"\n', System(Family.AZURE_LINUX, "an unknown system", "3.0")),
        ("# ID=debian\nID=nixos\n", System(Family.OTHER, "an unknown system", "")),
        ("", System(Family.OTHER, "an unknown system", "")),
    ],
)
def test_a_distribution_is_known_by_its_id_before_what_it_is_like(text: str, system: System) -> None:
    assert parse_os_release(text) == system
