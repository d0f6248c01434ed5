"""Where the API server is and who we are to it: from a pod's service account, or from a kubeconfig."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import Any

import yaml

from replication.errors import FailedPrecondition, Unsupported

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE = "trilith"
HOME_CONFIG = Path.home() / ".kube" / "config"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server as one user."""

    server: str  # https://HOST:PORT, or http:// of a `kubectl proxy`
    trust: ssl.SSLContext | None = None  # None: what this machine trusts
    read_token: Callable[[], str] | None = None  # read anew for each request: Kubernetes renews it


def find_access(
    environment: Mapping[str, str] = environ, account: Path = ACCOUNT, home: Path = HOME_CONFIG
) -> Access:
    """$KUBECONFIG, else the pod's service account, else ~/.kube/config. FailedPrecondition without any."""
    named = environment.get("KUBECONFIG")
    if named:
        return read_kubeconfig(Path(named))
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if host and (account / "token").exists():
        written = f"[{host}]" if ":" in host else host
        trust = ssl.create_default_context(cafile=str(account / "ca.crt"))
        return Access(f"https://{written}:{port}", trust, (account / "token").read_text)
    if home.exists():
        return read_kubeconfig(home)
    raise FailedPrecondition(
        "no Kubernetes API server is known: run in a pod with a service account, or name a kubeconfig in "
        "KUBECONFIG"
    )


def find_namespace(account: Path = ACCOUNT) -> str:
    """The pod's own, or where Trilith is installed as a rule."""
    own = account / "namespace"
    return own.read_text().strip() if own.exists() else NAMESPACE


def read_kubeconfig(path: Path) -> Access:
    """Of its current context. FailedPrecondition says what is missing; Unsupported, what it cannot be."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config, "contexts", "context", config["current-context"])
        cluster = _named(config, "clusters", "cluster", context["cluster"])
        user = _named(config, "users", "user", context["user"])
        return Access(
            str(cluster["server"]), _make_trust(path.parent, cluster, user), _find_token(path, user)
        )
    except OSError as error:
        raise FailedPrecondition(f"kubeconfig {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, ssl.SSLError, StopIteration) as error:
        raise FailedPrecondition(f"kubeconfig {path} is not one: {error!r}") from error


def _named(config: Json, plural: str, singular: str, name: str) -> Json:
    found: Json = next(each[singular] for each in config[plural] if each["name"] == name)
    return found


def _find_token(path: Path, user: Json) -> Callable[[], str] | None:
    if "exec" in user or "auth-provider" in user:
        raise Unsupported(
            f"kubeconfig {path}: a user whose credentials are made by a program is not supported: "
            f"use a token, a client certificate, or the address of a `kubectl proxy`"
        )
    if "tokenFile" in user:
        return (path.parent / str(user["tokenFile"])).read_text
    token = user.get("token")
    return None if token is None else lambda: str(token)


def _make_trust(folder: Path, cluster: Json, user: Json) -> ssl.SSLContext | None:
    if str(cluster["server"]).startswith("http://"):
        return None
    trust = ssl.create_default_context(cadata=_read_pem(folder, cluster, "certificate-authority"))
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("insecure-skip-tls-verify is set: name the cluster's certificate-authority instead")
    certificate = _read_pem(folder, user, "client-certificate")
    if certificate is not None:
        _load_client(trust, certificate, str(_read_pem(folder, user, "client-key")))
    return trust


def _read_pem(folder: Path, entry: Json, key: str) -> str | None:
    """Inline, or from a file whose path counts from the kubeconfig's folder."""
    if f"{key}-data" in entry:
        try:
            return base64.b64decode(entry[f"{key}-data"], validate=True).decode()
        except binascii.Error as error:
            raise ValueError(f"{key}-data: {error}") from error
    return (folder / entry[key]).read_text() if key in entry else None


def _load_client(trust: ssl.SSLContext, certificate: str, key: str) -> None:
    """By way of a file, which only we can read: OpenSSL takes no certificate of ours otherwise."""
    with tempfile.NamedTemporaryFile("w", prefix="trilith-") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        trust.load_cert_chain(file.name)
