"""What an image consists of is read from its package managers' own databases."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hack.image import bill

STATUS = """Package: lvm2
Status: install ok installed
Maintainer: Debian LVM Team <team@example.org>
Architecture: amd64
Version: 2.03.16-2
Description: tools
 of more than one line

Package: dmsetup
Status: install ok installed
Maintainer: Debian LVM Team <team@example.org>
Architecture: amd64
Version: 2:1.02.185-2

Package: gone
Status: deinstall ok config-files
Maintainer: Nobody <nobody@example.org>
Architecture: amd64
Version: 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    folder = tmp_path / "opt/lib/python3.11/site-packages/Thing-2.0.dist-info"
    folder.mkdir(parents=True)
    words = "Metadata-Version: 2.4\nName: Thing\nVersion: 2.0\nLicense-Expression: MIT\n"
    (folder / "METADATA").write_text(words)
    return tmp_path


def test_what_is_installed_is_listed_with_its_package_url(root: Path) -> None:
    assert [each.locator for each in bill.list_debian(root)] == [
        "pkg:deb/debian/lvm2@2.03.16-2?arch=amd64",
        "pkg:deb/debian/dmsetup@2%3A1.02.185-2?arch=amd64",
    ]
    (python,) = bill.list_python(root / "opt")
    assert (python.locator, python.licence) == ("pkg:pypi/thing@2.0", "MIT")


def test_the_document_names_every_package_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bill", str(root), str(root / "opt")])
    assert bill.main() == 0
    document = json.loads(capsys.readouterr().out)
    identifiers = [each["SPDXID"] for each in document["packages"]]
    assert identifiers == ["SPDXRef-deb-dmsetup", "SPDXRef-deb-lvm2", "SPDXRef-python-Thing"]
    assert [each["relatedSpdxElement"] for each in document["relationships"]] == identifiers
    assert document["spdxVersion"] == "SPDX-2.3"


def test_another_content_is_another_document(root: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    packages = list(bill.list_debian(root))
    one, other = bill.describe(packages, now), bill.describe(packages[:1], now)
    assert one["documentNamespace"] != other["documentNamespace"]
    assert one == bill.describe(packages, now)
