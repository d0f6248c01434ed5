"""What is in the image that clusters are given: its own list of it, and how large it is."""

import json
import re
import tarfile
from pathlib import Path

import pytest

from hack.image.build import ensure_image
from hack.lab.paths import REPOSITORY
from replication.kernel.run import PACKAGES
from replication.kubernetes.access import Json

pytestmark = pytest.mark.more  # a build takes root, and minutes

BILL = "usr/share/sbom/trilith.spdx.json"
LOCK = REPOSITORY / "deploy" / "requirements.lock"


def test_the_image_lists_our_packages_and_all_that_they_need() -> None:
    archive = ensure_image()
    print(f"figure: image-size value={archive.stat().st_size / 1e6:.0f} unit=MB")
    listed = {to_plain(each["name"]) for each in read_bill(archive)["packages"]}
    locked = re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)
    assert {"trilith", "python3", *PACKAGES.values(), *map(to_plain, locked)} - listed == set()


def read_bill(archive: Path) -> Json:
    """Of an archive as `docker save` makes one: layers are archives, and one has it."""
    with tarfile.open(archive) as image:
        for layer in (each for each in image if each.isfile() and each.name.endswith(".tar")):
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                found = next((each for each in files if each.name.lstrip("./") == BILL), None)
                if found is not None and (content := files.extractfile(found)) is not None:
                    return dict(json.load(content))
    raise AssertionError(f"{BILL} is in no layer")


def to_plain(name: str) -> str:
    """Python's packages may be called with either."""
    return name.lower().replace("_", "-")
