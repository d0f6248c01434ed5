import os
import stat
from pathlib import Path

import pytest

from replication.errors import NotFound
from replication.kernel.ownership import ensure_group

OWN = os.getgid()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/er/file").write_text("data")
    (tmp_path / "deep/er/file").chmod(0o600)
    (tmp_path / "link").symlink_to("/etc/hostname")
    tmp_path.chmod(0o755)
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_group_may_read_and_write_everything(tree: Path) -> None:
    target = stat.S_IMODE(Path("/etc/hostname").stat().st_mode)
    ensure_group(str(tree), OWN)
    assert mode(tree) == 0o2775
    assert mode(tree / "deep/er") & 0o2070 == 0o2070
    assert mode(tree / "deep/er/file") == 0o660
    assert stat.S_IMODE(Path("/etc/hostname").stat().st_mode) == target


def test_what_has_its_group_already_is_not_walked_again(tree: Path) -> None:
    ensure_group(str(tree), OWN)
    (tree / "deep/er/file").chmod(0o600)
    ensure_group(str(tree), OWN)
    assert mode(tree / "deep/er/file") == 0o600


def test_what_was_cut_short_is_begun_anew(tree: Path) -> None:
    ensure_group(str(tree), OWN)
    (tree / "deep/er/file").chmod(0o600)
    tree.chmod(0o755)
    ensure_group(str(tree), OWN)
    assert mode(tree / "deep/er/file") == 0o660


def test_what_is_not_there_cannot_be_given(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ensure_group(str(tmp_path / "gone"), OWN)
