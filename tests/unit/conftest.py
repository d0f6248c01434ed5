"""What unit tests of several rooms begin with."""

from collections.abc import Iterator

import pytest

from tests.unit.kernel.fake_dm import FakeControl


@pytest.fixture
def control() -> Iterator[FakeControl]:
    """Device-mapper's control device, with nothing there yet."""
    made = FakeControl()
    yield made
    made.close()
