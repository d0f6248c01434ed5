"""Our packages and commands, put into an environment of Python: what `pip install .` would do.

Not by pip: that would fetch a build backend, which no lock file pins. Standard library only.
"""

import argparse
import compileall
import shutil
import sys
import tomllib
from pathlib import Path
from py_compile import PycInvalidationMode

SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = ("csi", "replication")
_SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--version", default="", help="That of pyproject.toml, when it is empty.")
    words = parser.parse_args()
    install(words.environment, words.version)
    return 0


def install(environment: Path, version: str = "", source: Path = SOURCE) -> None:
    """Packages, commands, and the metadata by which a program knows its version."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    (site,) = (environment / "lib").glob("python*/site-packages")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / package, site / package, ignore=ignored, dirs_exist_ok=True)
    _write_metadata(site, project["name"], version or project["version"])
    for name, target in project["scripts"].items():
        _write_command(environment / "bin", name, target)
    _compile(site)


def _write_metadata(site: Path, name: str, version: str) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    lines = ("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "License: Apache-2.0")
    (folder / "METADATA").write_text("".join(f"{line}\n" for line in lines))


def _write_command(folder: Path, name: str, target: str) -> None:
    module, _, function = target.partition(":")
    path = folder / name
    path.write_text(_SCRIPT.format(python=folder / "python", module=module, function=function))
    path.chmod(0o755)


def _compile(site: Path) -> None:
    """Bytecode that is believed whatever the dates of files are: copies from layer to layer change those."""
    if not compileall.compile_dir(site, quiet=1, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH):
        raise SystemExit(f"{site}: some of it cannot be compiled")


if __name__ == "__main__":
    sys.exit(main())
