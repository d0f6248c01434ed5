from pathlib import Path

import pytest

from replication.errors import CommandFailed, FailedPrecondition, Unsupported
from replication.kernel.modules import (
    MODULES,
    check_kernel,
    ensure_configfs,
    ensure_loaded,
    list_missed_options,
    parse_release,
)
from tests.unit.kernel.fake_runner import FakeRunner
from tests.unit.kernel.fake_tree import FakeTree


@pytest.mark.parametrize("release", ["6.12.95+deb12-amd64", "6.12", "6.17-rc2", "7.0.1-generic"])
def test_tested_kernels_and_newer_ones_are_taken(release: str) -> None:
    check_kernel(release)


@pytest.mark.parametrize("release", ["6.1.0-56-amd64", "6.11.2", "5.15.0-91-generic"])
def test_older_kernels_are_refused_by_name(release: str) -> None:
    with pytest.raises(Unsupported, match=rf"kernel {release} is older than 6\.12: before 6\.11 md"):
        check_kernel(release)


def test_a_release_that_is_no_version_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="no version"):
        parse_release("plan9")


def test_only_missing_modules_are_loaded(tmp_path: Path) -> None:
    tree, runner = FakeTree(tmp_path), FakeRunner({("modprobe",): ""})
    for module in set(MODULES) - {"nvmet-tcp", "dm-multipath"}:
        tree.path(f"/sys/module/{module.replace('-', '_')}").mkdir(parents=True)
    ensure_loaded(tree, runner)
    assert runner.calls == [("modprobe", "dm-multipath"), ("modprobe", "nvmet-tcp")]


@pytest.mark.parametrize(("found", "missed"), [("N", ("nvme-tcp wq_unbound=Y",)), ("Y", ())])
def test_an_option_that_was_not_set_at_loading_is_noticed(
    tmp_path: Path, found: str, missed: tuple[str, ...]
) -> None:
    tree = FakeTree(tmp_path)
    tree.lay({"/sys/module/nvme_tcp/parameters/wq_unbound": found})
    assert list_missed_options(tree) == missed


def test_a_missing_module_is_named_with_who_has_it(tmp_path: Path) -> None:
    refusal = CommandFailed(("modprobe", "nvmet"), 1, "modprobe: FATAL: Module nvmet not found")
    with pytest.raises(Unsupported, match=r"nvmet cannot be loaded .* linux-image-amd64"):
        ensure_loaded(FakeTree(tmp_path), FakeRunner({("modprobe",): refusal}), ("nvmet",))


def test_configfs_is_mounted_once(tmp_path: Path) -> None:
    tree, runner = FakeTree(tmp_path), FakeRunner({("mount", "-t", "configfs"): ""})
    ensure_configfs(tree, runner)
    tree.path("/sys/kernel/config/nvmet").mkdir(parents=True)
    ensure_configfs(tree, runner)
    assert len(runner.calls) == 1
