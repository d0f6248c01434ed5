"""The command that gives a machine what it lacks, by its distribution.

Those of Debian are what the lab's machines are made by; others are as their distributors document them.
"""

import json
from collections.abc import Mapping, Sequence

from replication.kernel.modules import OPTIONS
from replication.preflight.system import Family, System

CONFIGURATION = "/etc/modprobe.d/trilith.conf"
TRACING = "a kernel with CONFIG_TRACING, as distributions build it"

_KERNEL: Mapping[Family, str] = {
    Family.DEBIAN: "apt-get install --yes linux-image-$(dpkg --print-architecture) && reboot",
    Family.UBUNTU: "apt-get install --yes linux-generic-hwe-{version} && reboot (on Azure: linux-azure)",
    Family.RED_HAT: "dnf update --assumeyes kernel && reboot (release 10 has 6.12; on 9: ELRepo's kernel-ml)",
    Family.AZURE_LINUX: "a node image with kernel {oldest} or newer; on AKS a node pool of another --os-sku",
    Family.TALOS: "talosctl upgrade, to Talos 1.9 or newer",
    Family.OTHER: "install a kernel of {oldest} or newer",
}
_BACKPORT = "apt-get install --yes -t bookworm-backports linux-image-$(dpkg --print-architecture) && reboot"

_MODULES: Mapping[Family, str] = {
    Family.DEBIAN: "apt-get install --yes linux-image-$(dpkg --print-architecture) && reboot (not -cloud)",
    Family.UBUNTU: "apt-get install --yes linux-modules-extra-{release}",
    Family.RED_HAT: "dnf install --assumeyes kernel-modules-{release} kernel-modules-extra-{release}",
    Family.AZURE_LINUX: "tdnf install -y kernel && reboot (on AKS: a node pool of another --os-sku)",
    Family.OTHER: "install the modules {modules} of kernel {release}",
}

_PACKAGES: Mapping[Family, str] = {
    Family.DEBIAN: "apt-get install --yes {packages}",
    Family.UBUNTU: "apt-get install --yes {packages}",
    Family.RED_HAT: "dnf install --assumeyes {packages}",
    Family.AZURE_LINUX: "tdnf install -y {packages}",
}

_GRUBBY = "grubby --update-kernel=ALL --args={argument} && reboot"
_ARGUMENT: Mapping[Family, str] = {
    Family.RED_HAT: _GRUBBY,
    Family.AZURE_LINUX: _GRUBBY,
    Family.TALOS: "{argument} in machine.install.extraKernelArgs, and talosctl upgrade",
}


def remedy_kernel(system: System, oldest: str) -> str:
    if system.family is Family.DEBIAN and system.version == "12":
        return _BACKPORT
    return _KERNEL[system.family].format(version=system.version, oldest=oldest)


def remedy_modules(system: System, release: str, missing: Sequence[str]) -> str:
    """For all of them at once: they are in the same package."""
    if system.family is Family.TALOS:
        return _configure_talos(missing)
    return _MODULES[system.family].format(release=release, modules=", ".join(missing))


def remedy_packages(system: System, packages: Sequence[str]) -> str:
    return _PACKAGES.get(system.family, "install {packages}").format(packages=" ".join(packages))


def remedy_multipath(system: System) -> str:
    """It can only be said when the kernel starts."""
    if system.family in {Family.DEBIAN, Family.UBUNTU}:
        option = f"echo 'options nvme_core multipath=Y' >> {CONFIGURATION}"
        return f"{option} && update-initramfs -u && reboot"
    return _boot_with(system, "nvme_core.multipath=Y")


def remedy_option(system: System, module: str, option: str) -> str:
    if system.family is Family.TALOS:
        return _configure_talos([module])
    return f"echo 'options {module} {option}' >> {CONFIGURATION} && reboot"


def remedy_cgroup(system: System) -> str:
    return _boot_with(system, "systemd.unified_cgroup_hierarchy=1")


def _boot_with(system: System, argument: str) -> str:
    return _ARGUMENT.get(system.family, "boot with {argument}").format(argument=argument)


def _configure_talos(modules: Sequence[str]) -> str:
    """Pods cannot load modules there: the machine's configuration names them."""
    named = [{"name": each.replace("-", "_"), **_parameters(each)} for each in modules]
    patch = {"machine": {"kernel": {"modules": named}}}
    return f"talosctl patch machineconfig --patch '{json.dumps(patch)}'"


def _parameters(module: str) -> dict[str, list[str]]:
    return {"parameters": list(OPTIONS[module])} if module in OPTIONS else {}
