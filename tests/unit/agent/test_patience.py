"""What is open for a moment, by a flush that ends or a user that dies, is waited for; not for ever."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from replication.agent.assembled import Arrays
from replication.agent.attachment import LET_GO_TIMEOUT, Attachments
from replication.agent.members import Members
from replication.errors import FailedPrecondition
from tests.fakes.clock import HandClock
from tests.unit.agent.fake_machine import fake_machine
from tests.unit.kernel.fake_tree import FakeTree


@pytest.mark.parametrize(("busy", "ends"), [(LET_GO_TIMEOUT / 2, True), (2 * LET_GO_TIMEOUT, False)])
def test_a_member_that_a_flush_has_open_goes_when_that_has_ended(
    tmp_path: Path, busy: float, ends: bool
) -> None:
    clock = HandClock()
    begun = clock.now()

    def remove() -> None:
        if clock.now() - begun < busy:
            raise FailedPrecondition("it is open")

    machine = replace(fake_machine(FakeTree(tmp_path)), clock=clock)
    attachments = Attachments(machine, Arrays(), cast("Members", None))
    if ends:
        attachments._patiently(remove)
        assert clock.now() - begun == pytest.approx(busy, abs=0.2)
    else:
        with pytest.raises(FailedPrecondition, match="it is open"):
            attachments._patiently(remove)
