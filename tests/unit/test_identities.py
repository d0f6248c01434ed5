"""An identity that is renewed in its folder is used from then on, and never a half of it."""

from pathlib import Path

import pytest

from replication.errors import NotFound
from replication.identities import FolderIdentity, current
from replication.pki import CERTIFICATE_FILE, KEY_FILE, CertificateAuthority, Role, write_identity


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "ca", "red")


@pytest.fixture
def folder(tmp_path: Path, authority: CertificateAuthority) -> Path:
    write_identity(tmp_path / "a", authority.issue("a", Role.NODE))
    return tmp_path / "a"


def test_a_new_identity_is_seen_at_once(folder: Path, authority: CertificateAuthority) -> None:
    source = FolderIdentity(folder)
    assert source() is source()
    new = authority.issue("a", Role.NODE)
    write_identity(folder, new, overwrite=True)
    assert current(source) == new


def test_a_half_of_a_new_one_leaves_the_old_one(folder: Path, authority: CertificateAuthority) -> None:
    source = FolderIdentity(folder)
    old, new = source(), authority.issue("a", Role.NODE)
    (folder / KEY_FILE).write_bytes(new.key_pem)
    assert source() == old
    (folder / CERTIFICATE_FILE).unlink()
    assert source() == old
    (folder / CERTIFICATE_FILE).write_bytes(new.certificate_pem)
    assert source() == new


def test_only_the_first_reading_raises(folder: Path, tmp_path: Path) -> None:
    source = FolderIdentity(folder)
    for file in folder.iterdir():
        file.unlink()
    assert current(source).certificate_pem
    with pytest.raises(NotFound):
        FolderIdentity(tmp_path / "nowhere")


def test_one_that_does_not_change_is_its_own_source(authority: CertificateAuthority) -> None:
    identity = authority.issue("a", Role.NODE)
    assert current(identity) is identity
