"""What tests of the agent begin with; those that need something else make it themselves."""

from pathlib import Path

import pytest

from tests.unit.kernel.fake_md import FakeMd

MIB = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> FakeMd:
    """Three devices, dm-0 to dm-2, and md."""
    fake = FakeMd(tmp_path)
    for minor in range(3):
        fake.add_block_device(f"dm-{minor}", f"253:{minor}", 64 * MIB)
    return fake
