"""What is pinned for the image is what is tested."""

import re
import tomllib

from tests.repo.sources import ROOT


def read_pins(name: str) -> set[str]:
    """Each with its hashes."""
    return set(re.split(r"\n(?=\S)", (ROOT / name).read_text().strip()))


def test_the_image_has_what_the_tests_ran_with() -> None:
    assert read_pins("deploy/requirements.lock") - read_pins("requirements.lock") == set()


def test_the_image_has_every_package_that_we_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {pin.partition("==")[0] for pin in read_pins("deploy/requirements.lock")}
    assert set(project["dependencies"]) - pinned == set()
    assert pinned & set(project["optional-dependencies"]["dev"]) == set()
