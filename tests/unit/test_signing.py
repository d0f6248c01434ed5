"""Requests for certificates: made by whoever has the key, for one name."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from replication.errors import InvalidRequest, Unauthenticated
from replication.pki import CertificateAuthority, Holder, Identity, Role, check_identity, holder_of
from replication.signing import find_renewal, is_due, make_request, parse_request
from tests.fakes.clock import HandClock

M1 = Holder(Role.NODE, "m1")
DNS = x509.DNSName("m1.node.trilith")
PEM = serialization.Encoding.PEM


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority.make("red")


def build(
    *names: x509.GeneralName, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(PEM)


def build_odd(name: str) -> bytes:
    """With a subject alternative name of these bytes, which no builder makes and every API server takes."""
    extension = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex(name))
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(extension, critical=False)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(PEM)


def test_the_key_stays_where_it_was_made(authority: CertificateAuthority) -> None:
    key, request = make_request(M1)
    asked = parse_request(request)
    identity = Identity(authority.ca_pem, authority.sign(asked.holder, asked.key, days=3), key)
    check_identity(identity, cluster_id="red")
    assert holder_of(identity.certificate_pem) == M1
    assert b"PRIVATE" not in request


@pytest.mark.parametrize(
    ("request_pem", "why"),
    [
        (b"junk", "not a request"),
        (build(), "not a request"),
        (build_odd("3002a300"), "not a request"),  # an x400Address
        (build_odd("3002a500"), "not a request"),  # an ediPartyName
        (build_odd("30048202fffe"), "not a request"),  # not ASCII
        (build(x509.DNSName("m1.node.trilith"), x509.DNSName("m2.node.trilith")), "2 names"),
        (
            build(
                x509.DNSName("m1.node.trilith"),
                key=rsa.generate_private_key(public_exponent=65537, key_size=2048),
            ),
            "not of an elliptic curve",
        ),
    ],
)
def test_what_is_not_one_is_refused(request_pem: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        parse_request(request_pem)


@pytest.mark.parametrize("name", [x509.DNSName("example.org"), x509.RFC822Name("m1@node.trilith")])
def test_a_name_without_a_role_is_nobody(name: x509.GeneralName) -> None:
    with pytest.raises(Unauthenticated, match="no role"):
        parse_request(build(name))


def test_a_request_that_was_changed_is_refused() -> None:
    request = x509.load_pem_x509_csr(build(x509.DNSName("m1.node.trilith")))
    changed = request.public_bytes(serialization.Encoding.DER).replace(b"m1.node", b"m2.node")
    pem = x509.load_der_x509_csr(changed).public_bytes(PEM)
    with pytest.raises(InvalidRequest, match="not signed by the key"):
        parse_request(pem)


def test_a_certificate_is_due_when_two_thirds_of_its_time_are_over(authority: CertificateAuthority) -> None:
    pem = authority.issue("m1", Role.NODE, days=90).certificate_pem
    due = datetime.fromtimestamp(find_renewal(pem), UTC) - datetime.now(UTC)
    assert timedelta(days=59, hours=23) < due < timedelta(days=60, hours=1)
    assert not is_due(pem, HandClock(find_renewal(pem) - 1))
    assert is_due(pem, HandClock(find_renewal(pem)))


def test_a_server_for_strangers_has_no_role(authority: CertificateAuthority) -> None:
    identity = authority.issue_server("trilith-webhook.trilith.svc")
    certificate = x509.load_pem_x509_certificate(identity.certificate_pem)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    with pytest.raises(Unauthenticated, match="no role"):
        holder_of(identity.certificate_pem)


def test_an_authority_is_kept_and_read_as_two_texts(authority: CertificateAuthority) -> None:
    read = CertificateAuthority.parse(authority.ca_pem, authority.key_pem, "here")
    assert read.cluster_id == "red"
    other = CertificateAuthority.make("red")
    with pytest.raises(Unauthenticated, match="here: the key does not belong"):
        CertificateAuthority.parse(authority.ca_pem, other.key_pem, "here")
    with pytest.raises(InvalidRequest, match=r"here, ca\.crt: is not a certificate"):
        CertificateAuthority.parse(b"junk", other.key_pem, "here")
