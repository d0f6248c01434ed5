import logging
import os
import time

import pytest

from replication.errors import CommandFailed, TimedOut, Unsupported
from replication.kernel.run import hide_flags, run


def test_standard_output_is_returned() -> None:
    assert run(("echo", "a b"), timeout=5) == "a b\n"


def test_standard_input_reaches_the_child() -> None:
    assert run(("cat",), timeout=5, stdin=b"hello") == "hello"


def test_what_is_added_to_the_environment_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    assert run(("sh", "-c", "echo $KEPT$ADDED"), timeout=5, environment={"ADDED": "2"}) == "12\n"


def test_without_standard_input_a_question_gets_no_answer() -> None:
    assert run(("cat",), timeout=5) == ""


def test_messages_are_in_english_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(("sh", "-c", "echo $LC_ALL"), timeout=5) == "C\n"


def test_programs_of_the_system_are_found_with_a_bare_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "/usr/sbin" in run(("/bin/sh", "-c", "echo $PATH"), timeout=5)


def test_a_failure_carries_status_and_what_the_tool_said() -> None:
    with pytest.raises(CommandFailed, match="exit status 3: broken") as caught:
        run(("sh", "-c", "echo broken >&2; exit 3"), timeout=5)
    assert (caught.value.status, caught.value.argv[0]) == (3, "sh")


def test_mount_flags_are_not_told() -> None:
    argv = ("mount", "-t", "ext4", "-o", "password=1", "/dev/a", "/b")
    assert hide_flags(argv) == ("mount", "-t", "ext4", "-o", "[flags]", "/dev/a", "/b")
    assert hide_flags(("blkid", "-o", "export")) == ("blkid", "-o", "export")


def test_an_absent_program_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("replication.kernel.run._SYSTEM_PATH", str(tmp_path))
    with pytest.raises(Unsupported, match="install the package xfsprogs"):
        run(("mkfs.xfs",), timeout=5)


def test_a_slow_command_is_killed_with_its_children() -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut, match="not within"):
        run(("sh", "-c", "sleep 1234.5 & wait"), timeout=0.2)
    assert time.monotonic() - started < 3
    assert not _is_running("1234.5")


def test_a_child_that_cannot_die_does_not_hold_its_caller() -> None:
    """One that left the process group and keeps the pipes open stands for one in state D."""
    started = time.monotonic()
    with pytest.raises(TimedOut):
        run(("sh", "-c", "setsid sleep 4 & wait"), timeout=0.2)
    assert time.monotonic() - started < 3


def test_every_command_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="replication.kernel.run"):
        run(("true",), timeout=5)
    assert caplog.messages[0].startswith("true: status 0 after")


def _is_running(word: str) -> bool:
    for pid in os.listdir("/proc"):  # noqa: PTH208 - /proc is no place for Path objects
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:  # noqa: PTH123
                if word.encode() in line.read().split(b"\0"):
                    return True
        except OSError:
            continue
    return False
