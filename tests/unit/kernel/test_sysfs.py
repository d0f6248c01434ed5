import errno
import os
from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, KernelError, NotFound
from replication.kernel import blockdev
from replication.kernel.sysfs import Attribute, Held, Tree, errno_of, wait_changed
from tests.unit.kernel.fake_tree import FakeTree


def test_text_is_read_without_white_space(tmp_path: Path) -> None:
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/level").write_text("raid1\n")
    assert Tree(tmp_path).read("/sys/level") == "raid1"


def test_an_attribute_that_changes_while_it_is_read_is_one_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives a second read what the new text has behind the end of the old one."""
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/sync_completed").touch()
    texts = [b"0 / 131072\n", b"1072\n", b""]
    monkeypatch.setattr(os, "read", lambda *_: texts.pop(0))
    assert Tree(tmp_path).read("/sys/sync_completed") == "0 / 131072"


def test_what_is_no_attribute_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").touch()
    texts = [b"one\n", b"two\n", b""]
    monkeypatch.setattr(os, "read", lambda *_: texts.pop(0))
    assert Tree(tmp_path).read("/mountinfo") == "one\ntwo"


def test_a_missing_attribute_is_not_found(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert tree.find("/sys/level") is None
    with pytest.raises(NotFound, match="/sys/level"):
        tree.read("/sys/level")
    with pytest.raises(NotFound, match="to write '1'"):
        tree.write("/sys/level", 1)


def test_a_refusal_carries_the_error_number(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(KernelError) as caught:
        Tree(tmp_path).write("/directory", "x")
    assert errno_of(caught.value) == errno.EISDIR


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Tree(tmp_path).write("/key", "DHHC-1:00:abc:", secret=True)
    assert "DHHC" not in str(caught.value)


def test_what_is_written_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("longer")
    Tree(tmp_path).write("/a", 7)
    assert (tmp_path / "a").read_text() == "7"


def test_directories_and_links_can_be_made_and_removed_again_and_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for _ in range(2):
        tree.make_directory("/a")
        tree.link("/b", "/a")
    assert (tree.names("/"), tree.link_name("/b")) == (("a", "b"), "a")
    for _ in range(2):
        tree.unlink("/b")
        tree.remove_directory("/a")
    assert tree.names("/") == ()
    assert tree.names("/nowhere") == ()


def test_a_file_is_no_block_device(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FailedPrecondition, match="not a block device"):
        Tree(tmp_path).device_number("/f")


def test_an_attribute_held_open_is_read_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("clean\n")
    with Attribute(Tree(tmp_path), "/state") as attribute:
        assert attribute.read() == "clean"
        (tmp_path / "state").write_text("active\n")
        assert attribute.read() == "active"
        assert wait_changed([attribute], timeout=0.01) == ()


def test_a_device_is_named_by_its_number(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.add_block_device("dm-3", "253:3", 1 << 20)
    tree.numbers["/dev/pool0/replica"] = "253:3"
    assert blockdev.kernel_name(tree, "/dev/pool0/replica") == "dm-3"
    assert blockdev.kernel_name(tree, "253:3") == "dm-3"
    assert blockdev.device_path(tree, "253:3") == "/dev/dm-3"
    assert blockdev.number(tree, "dm-3") == "253:3"
    assert blockdev.size_bytes(tree, "dm-3") == 1 << 20


def test_a_write_back_cache_is_volatile(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.add_block_device("nvme0n1", "259:0", 1 << 20)
    assert not blockdev.has_volatile_cache(tree, "nvme0n1")
    tree.put("/sys/class/block/nvme0n1/queue/write_cache", "write back")
    assert blockdev.has_volatile_cache(tree, "nvme0n1")


def test_requests_in_flight_are_reads_and_writes(tmp_path: Path) -> None:
    tree = FakeTree(tmp_path)
    tree.add_block_device("dm-0", "253:0", 1 << 20, inflight="       2       14")
    assert blockdev.requests_in_flight(tree, "dm-0") == 16


def test_a_file_is_claimed_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert not blockdev.is_claimed(Tree(tmp_path), "/f")


def test_an_attribute_that_is_held_is_read_anew_each_time(tmp_path: Path) -> None:
    held, path = Held(Tree(tmp_path)), tmp_path / "a"
    assert held.find("/a") is None
    path.write_text("1\n")
    assert held.find("/a") == "1"
    path.write_text("2\n")
    assert held.find("/a") == "2"


def test_an_attribute_that_is_not_kept_is_opened_anew(tmp_path: Path) -> None:
    held, path = Held(Tree(tmp_path)), tmp_path / "a"
    path.write_text("old")
    held.find("/a")
    path.unlink()
    path.write_text("new")
    assert held.find("/a") == "old"
    held.keep([])
    assert held.find("/a") == "new"
