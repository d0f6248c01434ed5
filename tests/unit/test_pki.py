"""An identity that peers would refuse says why, and what to do."""

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from replication.errors import AlreadyExists, InvalidRequest, NotFound, Unauthenticated
from replication.pki import (
    CertificateAuthority,
    Holder,
    Role,
    check_identity,
    cluster_of,
    holder_of,
    parse_holder,
    read_identity,
    write_identity,
)

START = 1_800_000_000.0
DAY = 86400.0


class StoppedClock:
    """A clock that tells the wall time it was set to, and is asked for nothing else."""

    def __init__(self, wall: float = START) -> None:
        self._wall = wall

    def now(self) -> float:
        raise AssertionError("nobody measures time here")

    def wall(self) -> float:
        return self._wall

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "authority", "red", clock=StoppedClock())


def test_an_identity_is_read_as_it_was_written(authority: CertificateAuthority, tmp_path: Path) -> None:
    identity = authority.issue("a", Role.NODE)
    write_identity(tmp_path / "a", identity)
    assert read_identity(tmp_path / "a", clock=StoppedClock()) == identity


def test_a_certificate_names_its_holder_and_its_cluster(authority: CertificateAuthority) -> None:
    identity = authority.issue("worker-1.example", Role.NODE)
    assert holder_of(identity.certificate_pem) == Holder(Role.NODE, "worker-1.example")
    assert cluster_of(identity.certificate_pem) == "red"


def test_a_name_longer_than_a_common_name_is_kept_whole(authority: CertificateAuthority) -> None:
    name = ".".join(["n" * 50] * 4)
    assert holder_of(authority.issue(name, Role.NODE).certificate_pem).name == name


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "*", "a..b", "-a", "a.", "a/../b", "n" * 64])
def test_a_name_that_dns_does_not_have_is_refused(authority: CertificateAuthority, name: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be in a certificate"):
        authority.issue(name, Role.NODE)


def test_a_node_cannot_be_named_into_the_control_plane(authority: CertificateAuthority) -> None:
    identity = authority.issue("main.control.trilith", Role.NODE)
    assert holder_of(identity.certificate_pem) == Holder(Role.NODE, "main.control.trilith")


def test_a_certificate_without_a_role_of_ours_is_nobody() -> None:
    with pytest.raises(Unauthenticated, match=r"example\.org has no role"):
        parse_holder(["example.org"])


def test_keys_are_for_their_owner_only(authority: CertificateAuthority, tmp_path: Path) -> None:
    write_identity(tmp_path / "a", authority.issue("a", Role.NODE))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()}
    assert modes == {"ca.crt": 0o600, "tls.crt": 0o600, "tls.key": 0o600}
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "authority" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_no_key_shows_in_a_representation(authority: CertificateAuthority) -> None:
    identity = authority.issue("a", Role.NODE)
    assert b"PRIVATE" in identity.key_pem
    assert "PRIVATE" not in repr(identity)
    assert repr(authority) == "CertificateAuthority(red)"


def test_an_identity_is_replaced_only_when_asked(authority: CertificateAuthority, tmp_path: Path) -> None:
    first, second = authority.issue("a", Role.NODE), authority.issue("a", Role.NODE)
    write_identity(tmp_path, first)
    with pytest.raises(AlreadyExists, match=r"tls\.crt: exists"):
        write_identity(tmp_path, second)
    assert read_identity(tmp_path, clock=StoppedClock()) == first
    write_identity(tmp_path, second, overwrite=True)
    assert read_identity(tmp_path, clock=StoppedClock()) == second


def test_what_a_crash_left_of_a_first_write_is_replaced(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    identity = authority.issue("a", Role.NODE)
    (tmp_path / "tls.key").write_bytes(authority.issue("a", Role.NODE).key_pem)
    write_identity(tmp_path, identity)
    assert read_identity(tmp_path, clock=StoppedClock()) == identity


@pytest.mark.usefixtures("authority")
def test_a_second_authority_in_the_same_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists, match=r"ca\.crt: exists"):
        CertificateAuthority.create(tmp_path / "authority", "blue")
    assert CertificateAuthority.open(tmp_path / "authority", clock=StoppedClock()).cluster_id == "red"


def test_an_opened_authority_signs_like_the_one_created(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    opened = CertificateAuthority.open(tmp_path / "authority", clock=StoppedClock())
    assert opened.ca_pem == authority.ca_pem
    check_identity(opened.issue("a", Role.NODE), clock=StoppedClock())


def test_a_directory_without_an_authority_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"ca\.crt: there is no such file; .* restore it from its backup"):
        CertificateAuthority.open(tmp_path)


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_missing_file_is_named(authority: CertificateAuthority, tmp_path: Path, name: str) -> None:
    write_identity(tmp_path, authority.issue("a", Role.NODE))
    (tmp_path / name).unlink()
    with pytest.raises(NotFound, match=f"{name}: there is no such file; issue a new one"):
        read_identity(tmp_path, clock=StoppedClock())


@pytest.mark.parametrize("name", ["ca.crt", "tls.crt", "tls.key"])
def test_a_file_that_is_not_pem_is_named(authority: CertificateAuthority, tmp_path: Path, name: str) -> None:
    write_identity(tmp_path, authority.issue("a", Role.NODE))
    (tmp_path / name).write_text("rubbish")
    with pytest.raises(InvalidRequest, match=f"{name}: is not"):
        read_identity(tmp_path, clock=StoppedClock())


def test_a_key_of_another_certificate_is_refused(authority: CertificateAuthority, tmp_path: Path) -> None:
    stranger = authority.issue("a", Role.NODE)
    write_identity(tmp_path, replace(authority.issue("a", Role.NODE), key_pem=stranger.key_pem))
    with pytest.raises(Unauthenticated, match="the key does not belong to the certificate"):
        read_identity(tmp_path, clock=StoppedClock())


def test_an_expired_identity_says_which_and_when_and_what_to_run(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    write_identity(tmp_path, authority.issue("a", Role.NODE, days=10))
    read_identity(tmp_path, clock=StoppedClock(START + 10 * DAY - 1))
    expected = f"{tmp_path}: the certificate of node:a expired at 2027-01-25 08:00 UTC; issue a new one with"
    with pytest.raises(Unauthenticated, match=expected):
        read_identity(tmp_path, clock=StoppedClock(START + 10 * DAY + 1))


def test_a_clock_that_is_behind_is_blamed(authority: CertificateAuthority) -> None:
    with pytest.raises(Unauthenticated, match="set this machine's clock"):
        check_identity(authority.issue("a", Role.NODE), clock=StoppedClock(START - DAY))


def test_an_identity_of_another_cluster_is_named(authority: CertificateAuthority) -> None:
    identity = authority.issue("a", Role.NODE)
    with pytest.raises(Unauthenticated, match="the certificate of node:a is of cluster red, not of blue"):
        check_identity(identity, cluster_id="blue", clock=StoppedClock())


def test_a_certificate_beside_a_strange_authority_is_refused(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    twin = CertificateAuthority.create(tmp_path / "twin", "red", clock=StoppedClock())
    mixed = replace(authority.issue("a", Role.NODE), ca_pem=twin.ca_pem)
    with pytest.raises(Unauthenticated, match="was not signed by the authority beside it"):
        check_identity(mixed, clock=StoppedClock())


def test_an_identity_cannot_sign_others(authority: CertificateAuthority) -> None:
    certificate = x509.load_pem_x509_certificate(authority.issue("a", Role.NODE).certificate_pem)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_failed_write_leaves_no_temporary_file(authority: CertificateAuthority, tmp_path: Path) -> None:
    (tmp_path / "a" / "tls.key").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_identity(tmp_path / "a", authority.issue("a", Role.NODE))
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "tls.key"]
