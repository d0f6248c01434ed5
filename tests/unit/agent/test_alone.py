import os
from pathlib import Path

import pytest

from replication.agent.alone import ensure_alone
from replication.errors import FailedPrecondition, KernelError
from tests.fakes.clock import HandClock
from tests.unit.kernel.fake_tree import FakeTree


def test_a_second_agent_begins_when_the_first_has_ended(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    held = ensure_alone(tree, HandClock())
    with pytest.raises(FailedPrecondition, match="another agent runs on this machine"):
        ensure_alone(tree, HandClock())
    os.close(held)
    os.close(ensure_alone(tree, HandClock()))


def test_what_an_agent_starts_does_not_hold_its_lock(tmp_path: Path) -> None:
    held = ensure_alone(FakeTree(tmp_path), HandClock())
    assert not os.get_inheritable(held)
    os.close(held)


def test_an_agent_that_cannot_know_whether_it_is_alone_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no directory")
    with pytest.raises(KernelError):
        ensure_alone(FakeTree(tmp_path), HandClock())
