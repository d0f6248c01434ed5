"""What disks refuse is told by a pipe of tracefs that one process at a time can read."""

import os
from collections.abc import Iterator

import pytest

from replication.kernel.dm import DeviceMapper
from replication.kernel.refusals import TracedRefusals
from replication.kernel.run import run
from replication.kernel.sysfs import Tree

pytestmark = pytest.mark.root


@pytest.fixture
def first(tree: Tree) -> Iterator[TracedRefusals]:
    made = TracedRefusals(tree, run, DeviceMapper())
    yield made
    if made._pipe is not None:
        os.close(made._pipe)


def test_who_comes_second_reads_when_the_first_has_ended(tree: Tree, first: TracedRefusals) -> None:
    second = TracedRefusals(tree, run, DeviceMapper())
    assert second.read() == ()
    assert (first._pipe is None, second._pipe) == (False, None)
    os.close(first._pipe or -1)
    first._pipe = None
    assert second.read() == ()
    assert second._pipe is not None
    os.close(second._pipe)
