"""Which distribution a machine runs, as far as its commands for packages and kernels differ."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """Distributions whose commands are the same."""

    DEBIAN = "debian"
    UBUNTU = "ubuntu"
    RED_HAT = "red hat"
    AZURE_LINUX = "azure linux"
    TALOS = "talos"
    OTHER = "other"


_IDS = {
    "debian": Family.DEBIAN,
    "ubuntu": Family.UBUNTU,
    "rhel": Family.RED_HAT,
    "fedora": Family.RED_HAT,
    "centos": Family.RED_HAT,
    "azurelinux": Family.AZURE_LINUX,
    "mariner": Family.AZURE_LINUX,
    "talos": Family.TALOS,
}


@dataclass(frozen=True, slots=True)
class System:
    """What /etc/os-release says."""

    family: Family
    name: str
    version: str  # VERSION_ID, as in 24.04


def parse_os_release(text: str) -> System:
    """os-release(5). ID goes before ID_LIKE: Ubuntu is like Debian, but for the packages of its kernels."""
    fields = dict(_parse_lines(text))
    names = (fields.get("ID", ""), *fields.get("ID_LIKE", "").split())
    family = next((_IDS[name] for name in names if name in _IDS), Family.OTHER)
    return System(family, fields.get("PRETTY_NAME", "an unknown system"), fields.get("VERSION_ID", ""))


def _parse_lines(text: str) -> Iterator[tuple[str, str]]:
    """Values are quoted as for a shell."""
    for line in text.splitlines():
        key, found, value = line.partition("=")
        if found and not key.startswith("#"):
            yield key.strip(), "".join(shlex.split(value))
