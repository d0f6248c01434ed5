"""A file of tests that looks at what all the others of its folder did."""

from pathlib import Path

import pytest


def put_last(config: pytest.Config, items: list[pytest.Item], file: Path) -> None:
    """It is left out where some of the others are."""
    chosen = {item.path for item in items if item.path.is_relative_to(file.parent)}
    last = [item for item in items if item.path == file]
    items[:] = [item for item in items if item.path != file]
    if chosen == set(file.parent.glob("test_*.py")):
        items += last
    else:
        config.hook.pytest_deselected(items=last)
