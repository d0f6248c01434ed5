"""Programs built from Go modules are built once, and anew when what they are made from changes."""

from pathlib import Path

import pytest

from hack.golang import Program, ensure_program
from hack.lab.errors import LabError

BUILDS = """#!/bin/sh
[ "$CGO_ENABLED" = 0 ] || exit 1
while [ "$1" != -o ]; do shift; done
echo built >> {log}
echo program > "$2"
"""
FAILS = "#!/bin/sh\necho 'no such package' >&2\nexit 1\n"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_text("pinned")
    return Program("tool", tmp_path, "example.org/tool")


def put_go(folder: Path, script: str) -> None:
    (folder / "go").write_text(script.format(log=folder / "log"))
    (folder / "go").chmod(0o755)


def test_a_program_is_built_once_for_each_set_of_pins(program: Program, tmp_path: Path) -> None:
    put_go(tmp_path, BUILDS)
    first = ensure_program(program)
    assert ensure_program(program) == first
    assert (first.read_text(), (tmp_path / "log").read_text()) == ("program\n", "built\n")
    (tmp_path / "go.sum").write_text("others")
    assert ensure_program(program) != first


def test_without_go_it_is_said_what_to_install(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"tool is built with Go, and there is no `go`.*install golang-go"):
        ensure_program(program)


def test_a_build_that_fails_leaves_nothing(program: Program, tmp_path: Path) -> None:
    put_go(tmp_path, FAILS)
    with pytest.raises(LabError, match="tool cannot be built: no such package"):
        ensure_program(program)
    assert not program.path().exists()
