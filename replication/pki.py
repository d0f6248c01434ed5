"""The cluster's certificates: one authority, and an identity for the control plane and for each node.

An identity's subject alternative name is its role and name (`NAME.node.trilith`, `NAME.control.trilith`), and
the only thing that is authorised by. Its organisation is the cluster's id, so that a certificate of another
cluster can be named as such. The files are called as in a Kubernetes Secret of type kubernetes.io/tls.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from replication.clock import Clock, SystemClock
from replication.errors import AlreadyExists, InvalidRequest, NotFound, Unauthenticated
from replication.files import write_whole

CA_FILE = "ca.crt"
CA_KEY_FILE = "ca.key"
CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"

AUTHORITY_DAYS = 20 * 365
IDENTITY_DAYS = 365
CLOCK_SKEW = timedelta(hours=1)

RENEWAL = "issue a new one with `trilith certificate issue --renew`"
RESTORATION = "the cluster's authority has to be there whole; restore it from its backup"

DOMAIN = "trilith"
COMMON_NAME_LIMIT = 64  # of X.520; longer names stand in full in the subject alternative name only
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_NAME_LIMIT = 230  # a DNS name has at most 253 characters

SYSTEM_CLOCK = SystemClock()


class Role(StrEnum):
    """What the holder of a certificate is."""

    CONTROL = "control"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a certificate is for."""

    role: Role
    name: str

    @property
    def dns_name(self) -> str:
        return f"{self.name}.{self.role}.{DOMAIN}"

    def __str__(self) -> str:
        return f"{self.role}:{self.name}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What one end of a mutual-TLS connection shows and trusts."""

    ca_pem: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)


class CertificateAuthority:
    """The cluster's root of trust: a directory with its certificate and its key."""

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._clock = clock

    def __repr__(self) -> str:
        return f"CertificateAuthority({self.cluster_id})"

    @classmethod
    def create(
        cls, directory: Path, cluster_id: str, *, clock: Clock = SYSTEM_CLOCK
    ) -> "CertificateAuthority":
        """Raise AlreadyExists when the directory has an authority: a second one would cut off every node."""
        made = cls.make(cluster_id, clock=clock)
        _write_files(directory, {CA_KEY_FILE: made.key_pem, CA_FILE: made.ca_pem}, overwrite=False)
        return made

    @classmethod
    def make(cls, cluster_id: str, *, clock: Clock = SYSTEM_CLOCK) -> "CertificateAuthority":
        """One that is kept nowhere yet."""
        key = make_key()
        return cls(_sign_authority(key, cluster_id, clock), key, clock)

    @classmethod
    def open(cls, directory: Path, *, clock: Clock = SYSTEM_CLOCK) -> "CertificateAuthority":
        certificate, key = (_read(directory / name, RESTORATION) for name in (CA_FILE, CA_KEY_FILE))
        return cls.parse(certificate, key, str(directory), clock=clock)

    @classmethod
    def parse(
        cls, ca_pem: bytes, key_pem: bytes, where: str, *, clock: Clock = SYSTEM_CLOCK
    ) -> "CertificateAuthority":
        """Raise InvalidRequest or Unauthenticated, naming `where` they are from."""
        certificate = _parse_certificate(ca_pem, f"{where}, {CA_FILE}", RESTORATION)
        key = _parse_key(key_pem, f"{where}, {CA_KEY_FILE}", RESTORATION)
        _check_pair(certificate, key, where)
        _check_dates(certificate, f"{where}: the authority", clock)
        return cls(certificate, key, clock)

    @property
    def cluster_id(self) -> str:
        return _organisation(self._certificate)

    @property
    def ca_pem(self) -> bytes:
        return _pem(self._certificate)

    @property
    def key_pem(self) -> bytes:
        return to_pem(self._key)

    def issue(self, name: str, role: Role, days: int = IDENTITY_DAYS) -> Identity:
        """A new key, and a certificate for it that serves both ends of a connection."""
        key = make_key()
        return Identity(self.ca_pem, self.sign(Holder(role, name), key.public_key(), days), to_pem(key))

    def issue_server(self, dns_name: str, days: int = IDENTITY_DAYS) -> Identity:
        """For a server that strangers call: it has no role, and is nobody's client."""
        key, usages = make_key(), [ExtendedKeyUsageOID.SERVER_AUTH]
        certificate = self._sign(dns_name, dns_name, usages, key.public_key(), days)
        return Identity(self.ca_pem, _pem(certificate), to_pem(key))

    def sign(self, holder: Holder, key: ec.EllipticCurvePublicKey, days: int = IDENTITY_DAYS) -> bytes:
        """By which whoever has that key is `holder`. InvalidRequest for a name that cannot be in one."""
        name = holder.name
        if len(name) > _NAME_LIMIT or not _NAME.fullmatch(name):
            raise InvalidRequest(f"{name!r} cannot be in a certificate: it is not a lower-case DNS name")
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return _pem(self._sign(str(holder), holder.dns_name, both, key, days))

    def _sign(
        self,
        name: str,
        dns_name: str,
        usages: list[x509.ObjectIdentifier],
        key: ec.EllipticCurvePublicKey,
        days: int,
    ) -> x509.Certificate:
        subject = _subject(self.cluster_id, name[:COMMON_NAME_LIMIT])
        builder = _begin(subject, self._certificate.subject, key, days, self._clock)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(issuer_key, critical=False).sign(self._key, hashes.SHA256())


def write_identity(directory: Path, identity: Identity, *, overwrite: bool = False) -> None:
    """Each file appears whole. A crash between two of them leaves a pair that read_identity refuses."""
    files = {
        KEY_FILE: identity.key_pem,
        CA_FILE: identity.ca_pem,
        CERTIFICATE_FILE: identity.certificate_pem,
    }
    _write_files(directory, files, overwrite=overwrite)


def read_identity(directory: Path, *, clock: Clock = SYSTEM_CLOCK) -> Identity:
    """Raise NotFound, InvalidRequest or Unauthenticated, naming the file and what to do."""
    names = (CA_FILE, CERTIFICATE_FILE, KEY_FILE)
    identity = Identity(*(_read(directory / name) for name in names))
    _load_certificate(directory / CA_FILE)
    certificate = _load_certificate(directory / CERTIFICATE_FILE)
    _check_pair(certificate, _load_key(directory / KEY_FILE), str(directory))
    check_identity(identity, where=str(directory), clock=clock)
    return identity


def check_identity(
    identity: Identity, *, cluster_id: str = "", where: str = "", clock: Clock = SYSTEM_CLOCK
) -> None:
    """Raise Unauthenticated when the peers of `cluster_id` (its own cluster's, if empty) would refuse it."""
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    authority = x509.load_pem_x509_certificate(identity.ca_pem)
    what = f"{where}: " if where else ""
    what += f"the certificate of {_describe_holder(certificate)}"
    theirs = cluster_id or _organisation(authority)
    if _organisation(certificate) != theirs:
        raise Unauthenticated(f"{what} is of cluster {_organisation(certificate)}, not of {theirs}")
    _check_issuer(certificate, authority, what)
    _check_dates(authority, f"{what}: its authority", clock)
    _check_dates(certificate, what, clock)


def cluster_of(certificate_pem: bytes) -> str:
    """By the certificate's own words."""
    return _organisation(x509.load_pem_x509_certificate(certificate_pem))


def holder_of(certificate_pem: bytes) -> Holder:
    return parse_holder(_dns_names(x509.load_pem_x509_certificate(certificate_pem)))


def parse_holder(dns_names: list[str]) -> Holder:
    """Whom these subject alternative names are of. Raise Unauthenticated when they are of no role of ours."""
    for name in dns_names:
        for role in Role:
            if name.endswith(f".{role}.{DOMAIN}"):
                return Holder(role, name.removesuffix(f".{role}.{DOMAIN}"))
    raise Unauthenticated(f"a certificate for {', '.join(dns_names) or 'nobody'} has no role in a cluster")


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _sign_authority(key: ec.EllipticCurvePrivateKey, cluster_id: str, clock: Clock) -> x509.Certificate:
    subject = _subject(cluster_id, "Trilith authority")
    builder = _begin(subject, subject, key.public_key(), AUTHORITY_DAYS, clock)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, hashes.SHA256())


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int, clock: Clock
) -> x509.CertificateBuilder:
    now = _now(clock)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now + timedelta(days=days))
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _subject(organisation: str, common_name: str) -> x509.Name:
    names = {NameOID.ORGANIZATION_NAME: organisation, NameOID.COMMON_NAME: common_name}
    return x509.Name([x509.NameAttribute(oid, name) for oid, name in names.items()])


def _organisation(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else "unknown"


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)


def _describe_holder(certificate: x509.Certificate) -> str:
    try:
        return str(parse_holder(_dns_names(certificate)))
    except Unauthenticated:
        return certificate.subject.rfc4514_string()


def _check_dates(certificate: x509.Certificate, what: str, clock: Clock) -> None:
    begins, ends, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, _now(clock)
    if now > ends:
        raise Unauthenticated(f"{what} expired at {ends:%Y-%m-%d %H:%M} UTC; {RENEWAL}")
    if now < begins:
        raise Unauthenticated(
            f"{what} is valid from {begins:%Y-%m-%d %H:%M} UTC only, and here it is "
            f"{now:%Y-%m-%d %H:%M} UTC; set this machine's clock"
        )


def _check_issuer(certificate: x509.Certificate, authority: x509.Certificate, what: str) -> None:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        message = f"{what} was not signed by the authority beside it; {RENEWAL}"
        raise Unauthenticated(message) from None


def _check_pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, where: str) -> None:
    if certificate.public_key() != key.public_key():
        raise Unauthenticated(f"{where}: the key does not belong to the certificate; {RENEWAL}")


def _load_certificate(path: Path) -> x509.Certificate:
    return _parse_certificate(_read(path), str(path), RENEWAL)


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    return _parse_key(_read(path), str(path), RENEWAL)


def _parse_certificate(pem: bytes, where: str, remedy: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise InvalidRequest(f"{where}: is not a certificate in PEM; {remedy}") from None


def _parse_key(pem: bytes, where: str, remedy: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise InvalidRequest(f"{where}: is not an unencrypted private key in PEM; {remedy}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidRequest(f"{where}: is not a key of an elliptic curve; {remedy}")
    return key


def _read(path: Path, remedy: str = RENEWAL) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file; {remedy}") from None


def _write_files(directory: Path, files: dict[str, bytes], *, overwrite: bool) -> None:
    """The last file stands for all: where it is missing, the others are what a crash left of a first try."""
    last = directory / list(files)[-1]
    if last.exists() and not overwrite:
        raise AlreadyExists(f"{last}: exists; it is replaced only when that is asked for")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(directory / name, content)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.wall(), UTC)
