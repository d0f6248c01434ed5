"""Certificates that somebody else asks for: the key stays where it was made."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from replication.clock import Clock
from replication.errors import InvalidRequest
from replication.pki import Holder, make_key, parse_holder, to_pem

_ODD = (
    ValueError,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    InvalidSignature,
)
"""All that cryptography says of a request that is none, or of a kind that it does not know: whoever may ask
must not be able to end who answers."""

RENEW_AFTER = 2 / 3
"""Of a certificate's time: what is left is for whoever has to sign to come back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: to be called `holder` by whoever has the key."""

    holder: Holder
    key: ec.EllipticCurvePublicKey


def make_request(holder: Holder) -> tuple[bytes, bytes]:
    """A new key, and a request for a certificate of it, both as PEM."""
    key = make_key()
    name = x509.SubjectAlternativeName([x509.DNSName(holder.dns_name)])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    request = builder.add_extension(name, critical=True).sign(key, hashes.SHA256())
    return to_pem(key), request.public_bytes(serialization.Encoding.PEM)


def parse_request(pem: bytes) -> Asked:
    """InvalidRequest unless it is one, by whoever has its key, for one holder; Unauthenticated for nobody."""
    try:
        request = x509.load_pem_x509_csr(pem)
        key, valid = request.public_key(), request.is_signature_valid
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _ODD as error:
        raise InvalidRequest(f"not a request for a certificate of a holder: {error!r}") from error
    if not valid:
        raise InvalidRequest("the request is not signed by the key that it holds")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidRequest("the request's key is not of an elliptic curve")
    if len(names) != 1:
        raise InvalidRequest(f"the request is for {len(names)} names instead of one")
    return Asked(parse_holder(names.get_values_for_type(x509.DNSName)), key)


def find_renewal(certificate_pem: bytes) -> float:
    """When a certificate is to be replaced, in seconds since 1970."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (begins + (ends - begins) * RENEW_AFTER).timestamp()


def is_due(certificate_pem: bytes, clock: Clock) -> bool:
    return clock.wall() >= find_renewal(certificate_pem)
