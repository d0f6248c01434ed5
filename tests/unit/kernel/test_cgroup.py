from pathlib import Path

import pytest

from replication.errors import Unsupported
from replication.kernel.cgroup import (
    IoLimits,
    ensure_limits,
    format_limits,
    parse_limits,
    read_limits,
    remove_limits,
)
from tests.unit.kernel.fake_tree import FakeTree

FILE = "/sys/fs/cgroup/kubepods/io.max"
LIMITS = IoLimits(read_operations=300, write_bytes=2097152)


def test_what_6_12_prints_is_understood() -> None:
    assert parse_limits("259:3 rbps=max wbps=2097152 riops=300 wiops=max\n") == {"259:3": LIMITS}
    assert parse_limits("") == {}


def test_all_four_bounds_are_written() -> None:
    assert format_limits(LIMITS) == "riops=300 wiops=max rbps=max wbps=2097152"


def test_limits_are_written_when_they_differ(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.lay({FILE: ""})
    ensure_limits(tree, "kubepods", "9:127", LIMITS)
    assert tree.read(FILE) == "9:127 riops=300 wiops=max rbps=max wbps=2097152"
    assert read_limits(tree, "kubepods", "9:127") == LIMITS
    assert read_limits(tree, "kubepods", "9:126") == IoLimits()
    remove_limits(tree, "kubepods", "9:127")
    assert tree.read(FILE) == "9:127 riops=max wiops=max rbps=max wbps=max"


def test_a_cgroup_without_the_controller_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"kubepods/io\.max is missing"):
        ensure_limits(FakeTree(tmp_path), "kubepods", "9:127", LIMITS)
