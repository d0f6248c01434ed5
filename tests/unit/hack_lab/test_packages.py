from pathlib import Path

import pytest

from hack.lab.errors import LabError
from hack.lab.packages import get_kernel, merge_usr, read_pins


def test_the_pins_name_the_kernels_the_tests_use() -> None:
    assert get_kernel("6.12").release.startswith("6.12.")
    assert get_kernel("6.1").release.startswith("6.1.")


def test_an_unknown_kernel_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"6\.12"):
        get_kernel("2.4")


def test_a_changed_pin_is_another_folder() -> None:
    tree = read_pins().trees["host"]
    changed = type(tree)(tree.name, tree.target, (("qemu-system-x86", "1:0"),), tree.packages)
    assert tree.path != changed.path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_split_folders_move_below_usr(tmp_path: Path) -> None:
    _write(tmp_path / "sbin" / "lvm", "lvm")
    _write(tmp_path / "lib" / "x" / "a.so", "a")
    _write(tmp_path / "usr" / "lib" / "x" / "b.so", "b")
    merge_usr(tmp_path, links=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["usr"]
    assert {path.name for path in (tmp_path / "usr" / "lib" / "x").iterdir()} == {"a.so", "b.so"}
    assert (tmp_path / "usr" / "sbin" / "lvm").read_text() == "lvm"


def test_links_are_left_where_programs_expect_the_folders(tmp_path: Path) -> None:
    _write(tmp_path / "lib" / "a.so", "a")
    merge_usr(tmp_path, links=True)
    assert (tmp_path / "lib" / "a.so").read_text() == "a"
    assert (tmp_path / "lib").is_symlink()


def test_a_compatibility_link_does_not_replace_the_file(tmp_path: Path) -> None:
    _write(tmp_path / "usr" / "bin" / "tool", "tool")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").symlink_to("/usr/bin/tool")
    merge_usr(tmp_path, links=False)
    assert (tmp_path / "usr" / "bin" / "tool").read_text() == "tool"
