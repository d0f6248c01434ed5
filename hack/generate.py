"""Generate the committed protobuf code: `python -m hack.generate`, or `--check` whether it is up to date."""

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = {"node.proto": "replication/rpc/v1", "csi.proto": "csi/v1"}
"""Each source in proto/, and the package that its code lands in."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 naming what differs")
    if parser.parse_args().check:
        return report(find_stale())
    generate(ROOT)
    return 0


def generate(out: Path) -> None:
    for source, package in PACKAGES.items():
        (out / package).mkdir(parents=True, exist_ok=True)
        (out / package / "__init__.py").touch()
        _run_protoc(source, package, out)


def find_stale() -> list[str]:
    """Paths of generated files that are missing, superfluous, or not what the sources give."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        expected = set(_list_generated(Path(scratch)))
        return sorted(
            path
            for path in expected | set(_list_generated(ROOT))
            if path not in expected or not _is_same(ROOT / path, Path(scratch) / path)
        )


def report(stale: list[str]) -> int:
    for path in stale:
        print(f"{path}: not what proto/ gives; run python -m hack.generate", file=sys.stderr)
    return 1 if stale else 0


def _run_protoc(source: str, package: str, out: Path) -> None:
    """Run protoc with proto/ mapped onto the package.

    The generated modules import each other by the source's path, so that the source must appear to lie
    where its code does: then the imports are right without any editing of the output.
    """
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={package}={ROOT / 'proto'}"]
    command += [f"--{plugin}_out={out}" for plugin in ("python", "pyi", "grpc_python")]
    subprocess.run([*command, f"{package}/{source}"], check=True, env={**os.environ, "LC_ALL": "C"})


def _list_generated(root: Path) -> Iterator[str]:
    for package in PACKAGES.values():
        for path in (root / package).glob("*.py*"):
            yield str(path.relative_to(root))


def _is_same(left: Path, right: Path) -> bool:
    return left.exists() and filecmp.cmp(left, right, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
