"""What is in the image that clusters are given: its own list of it, how large it is, for which machines."""

import json
import re
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from hack.image.build import ensure_image, run_in_image
from hack.image.emulation import ARCHITECTURES
from hack.lab.paths import REPOSITORY
from replication.kernel.run import PACKAGES
from replication.kubernetes.access import Json

# A build takes root, and minutes; many where it is emulated.
pytestmark = [
    pytest.mark.more,
    pytest.mark.timeout(3600),
    pytest.mark.parametrize("architecture", ARCHITECTURES),
]

BILL = "usr/share/sbom/trilith.spdx.json"
LOCK = REPOSITORY / "deploy" / "requirements.lock"
PROGRAMS = ("trilith", "trilith-agent", "trilith-csi", "trilith-controller")
MACHINES = {"amd64": 62, "arm64": 183}  # EM_X86_64, EM_AARCH64 of elf.h


def test_the_image_lists_our_packages_and_all_that_they_need(architecture: str) -> None:
    archive = ensure_image(architecture)
    print(f"figure: image-size-{architecture} value={archive.stat().st_size / 1e6:.0f} unit=MB")
    listed = {to_plain(each["name"]) for each in read_bill(archive)["packages"]}
    locked = re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)
    assert {"trilith", "python3", *PACKAGES.values(), *map(to_plain, locked)} - listed == set()


def test_the_image_has_binaries_of_its_architecture_only(architecture: str) -> None:
    archive = ensure_image(architecture)
    found = {name: machine for name, header in read_headers(archive) if (machine := find_machine(header))}
    assert read_configuration(archive)["architecture"] == architecture
    assert any("/grpc/_cython/" in name for name in found)
    assert {name: machine for name, machine in found.items() if machine != MACHINES[architecture]} == {}


def test_every_program_of_the_image_runs_and_is_not_root(architecture: str) -> None:
    archive = ensure_image(architecture)
    steps = "; ".join(f"{program} --help >/dev/null" for program in PROGRAMS)
    argv = ["sh", "-euc", f"{steps}; dpkg --print-architecture; id --user; mkfs.xfs -V"]
    said = run_in_image(archive, argv, architecture).split()
    assert said[:2] == [architecture, "65532"]
    assert "mkfs.xfs" in said


def read_bill(archive: Path) -> Json:
    for file, content in read_layers(archive):
        if file.name.lstrip("./") == BILL:
            return dict(json.load(content))
    raise AssertionError(f"{BILL} is in no layer")


def read_headers(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The first bytes of each file."""
    for file, content in read_layers(archive):
        yield file.name, content.read(20)


def read_layers(archive: Path) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The files of an archive as `docker save` makes one: layers are archives."""
    with tarfile.open(archive) as image:
        for layer in (each for each in image if each.isfile() and each.name.endswith(".tar")):
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                for file in files:
                    if file.isreg() and (content := files.extractfile(file)) is not None:
                        yield file, content


def read_configuration(archive: Path) -> Json:
    with tarfile.open(archive) as image:
        manifest = image.extractfile("manifest.json")
        assert manifest is not None
        (described,) = json.load(manifest)
        configuration = image.extractfile(described["Config"])
        assert configuration is not None
        return dict(json.load(configuration))


def find_machine(header: bytes) -> int | None:
    """For which machine a file of ELF is."""
    if not header.startswith(b"\x7fELF"):
        return None
    (machine,) = struct.unpack_from("<H", header, 18)
    return int(machine)


def to_plain(name: str) -> str:
    """Python's packages may be called with either."""
    return name.lower().replace("_", "-")
