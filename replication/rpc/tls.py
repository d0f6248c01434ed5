"""Mutual TLS: channels and listening ports that show our identity and accept only our cluster's."""

import re
import ssl
from concurrent.futures import ThreadPoolExecutor

import grpc

from replication.errors import FailedPrecondition, InvalidRequest, Unauthenticated
from replication.identities import Source, current
from replication.pki import Holder, Identity, cluster_of, holder_of, parse_holder

THREADS = 32

_PROBE_TIMEOUT = 2.0
_ENDPOINT = re.compile(r"(?:tls://)?(?P<address>[^/]+:\d+)")

CHANNEL_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
    (
        "grpc.min_reconnect_backoff_ms",
        5000,
    ),  # despite its name, the time that one attempt to connect may take
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else a new client would share an old one's back-off
)

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else a second server on the port would take half of the calls
    ("grpc.keepalive_time_ms", 10000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
)


def secure_channel(address: str, peer: Holder, identity: Identity) -> grpc.Channel:
    """A channel to `peer`, whatever name `address` has. It connects when it is first used."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=identity.ca_pem,
        private_key=identity.key_pem,
        certificate_chain=identity.certificate_pem,
    )
    name = (("grpc.ssl_target_name_override", peer.dns_name),)
    return grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS + name)


def new_server(*interceptors: object, threads: int = THREADS) -> grpc.Server:
    """A server without a port yet. A call that hangs holds one of its threads."""
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="rpc")
    return grpc.server(pool, interceptors=interceptors, options=SERVER_OPTIONS)


def bind(server: grpc.Server, endpoint: str, source: Source) -> int:
    """Listen on `host:port` or `tls://host:port`, and return the port, which may have been asked for as 0.

    `source` is asked at each handshake; connections that there are stay when it gives another identity.
    """
    match = _ENDPOINT.fullmatch(endpoint)
    if match is None:
        raise InvalidRequest(f"{endpoint}: not an address to listen on; say HOST:PORT")
    credentials = _server_credentials(source)
    try:
        return int(server.add_secure_port(match["address"], credentials))
    except RuntimeError as error:
        raise FailedPrecondition(f"cannot listen on {endpoint}: {error}") from None


def _server_credentials(source: Source) -> grpc.ServerCredentials:
    shown = [current(source)]

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """None: as before. What is raised here has gRPC go on with what it has."""
        identity = current(source)
        if identity == shown[0]:
            return None
        shown[0] = identity
        return _to_configuration(identity)

    return grpc.dynamic_ssl_server_credentials(
        _to_configuration(shown[0]), fetch, require_client_authentication=True
    )


def _to_configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key_pem, identity.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=identity.ca_pem)


def get_caller(context: grpc.ServicerContext) -> Holder:
    """Whose certificate the other end has shown. Raise Unauthenticated when it has no role of ours."""
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return parse_holder([name.decode() for name in names])


def find_foreign_cluster(address: str, identity: Identity) -> str | None:
    """The id of the cluster that the server at `address` is of, if it is one of Trilith and it is not ours.

    Nothing is trusted here: this only makes a better sentence of a handshake that has failed.
    """
    host, _, port = address.rpartition(":")
    try:
        shown = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT)
        holder_of(shown.encode())
        cluster = cluster_of(shown.encode())
    except (OSError, ValueError, Unauthenticated):
        return None
    return cluster if cluster != cluster_of(identity.certificate_pem) else None
