from pathlib import Path

import pytest

from replication.agent.limits import set_limits
from replication.errors import Unsupported
from replication.model import Limits
from tests.unit.kernel.fake_tree import FakeTree

ROOT = "/sys/fs/cgroup"


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    made = FakeTree(tmp_path)
    made.add_block_device("md_v1", "9:127", 1 << 30)
    made.lay({f"{ROOT}/cgroup.subtree_control": "cpu memory", f"{ROOT}/kubepods.slice/io.max": ""})
    return made


def test_limits_are_set_on_the_cgroup_above_all_workloads(tree: FakeTree) -> None:
    set_limits(tree, "v1", Limits("basic", 120_000, 45_000, 0, 1 << 20))
    assert (
        tree.read(f"{ROOT}/kubepods.slice/io.max") == "9:127 riops=120000 wiops=45000 rbps=max wbps=1048576"
    )
    assert tree.read(f"{ROOT}/cgroup.subtree_control") == "+io"


def test_where_kubelet_never_was_nobody_can_be_bounded(tmp_path: Path) -> None:
    bare = FakeTree(tmp_path)
    bare.add_block_device("md_v1", "9:127", 1 << 30)
    bare.lay({f"{ROOT}/cgroup.subtree_control": "cpu io"})
    with pytest.raises(
        Unsupported, match=r"none of the cgroups kubepods.slice, kubepods: limits bound nobody"
    ):
        set_limits(bare, "v1", Limits("basic"))


def test_a_kernel_without_the_controller_is_said(tmp_path: Path) -> None:
    old = FakeTree(tmp_path)
    old.path(f"{ROOT}/kubepods").mkdir(parents=True)
    with pytest.raises(Unsupported, match="cgroup v2 with the controller `io` is needed"):
        set_limits(old, "v1", Limits("basic"))
