"""What an image consists of, as an SPDX 2.3 document: Debian's packages and Python's, by their own databases.

Standard library only, and one file: it runs in the image that it describes.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser
from importlib.metadata import distributions
from pathlib import Path

_STATUS = "var/lib/dpkg/status"
_NAMESPACE = "https://trilith.io/spdx/"
_NOT_IN_IDENTIFIERS = re.compile(r"[^A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One that is installed. `locator` is its package URL, which names it for whoever looks for flaws."""

    kind: str
    name: str
    version: str
    supplier: str
    licence: str
    locator: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="Of the image's file system.")
    parser.add_argument("environment", type=Path, help="Python's environment in it.")
    words = parser.parse_args()
    packages = sorted([*list_debian(words.root), *list_python(words.environment)])
    json.dump(describe(packages, datetime.now(UTC)), sys.stdout, indent=1)
    return 0


def list_debian(root: Path) -> Iterator[Package]:
    """Those that dpkg calls installed."""
    for paragraph in (root / _STATUS).read_text(encoding="utf-8").strip().split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields["Status"] == "install ok installed":
            name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
            locator = f"pkg:deb/debian/{name}@{version.replace(':', '%3A')}?arch={machine}"
            yield Package("deb", name, version, f"Organization: {fields['Maintainer']}", "", locator)


def list_python(environment: Path) -> Iterator[Package]:
    folders = [str(path) for path in (environment / "lib").glob("python*/site-packages")]
    for found in distributions(path=folders):
        name, version = found.metadata["Name"], found.version
        licence = found.metadata["License-Expression"] or ""
        yield Package("python", name, version, "NOASSERTION", licence, f"pkg:pypi/{name.lower()}@{version}")


def describe(packages: list[Package], now: datetime) -> dict[str, object]:
    """The document. Its namespace is of its contents, as the specification wants it to be unique."""
    digest = hashlib.sha256("\n".join(each.locator for each in packages).encode()).hexdigest()
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "trilith",
        "documentNamespace": f"{_NAMESPACE}{digest}",
        "creationInfo": {"created": f"{now:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: trilith-bill"]},
        "packages": [_entry(each) for each in packages],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": _identifier(each),
            }
            for each in packages
        ],
    }


def _entry(package: Package) -> dict[str, object]:
    return {
        "SPDXID": _identifier(package),
        "name": package.name,
        "versionInfo": package.version,
        "supplier": package.supplier,
        "downloadLocation": "NOASSERTION",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": package.licence or "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.locator,
            }
        ],
    }


def _identifier(package: Package) -> str:
    return f"SPDXRef-{package.kind}-{_NOT_IN_IDENTIFIERS.sub('-', package.name)}"


if __name__ == "__main__":
    sys.exit(main())
