"""A Kubernetes control plane on this machine, as plain processes: etcd and kube-apiserver.

Its API server is the real one: schemas, admission, RBAC, watches, conflicts. There are no nodes, and nothing
reconciles: what is created stays as it is.
"""

import json
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType

from hack.golang import ensure_program
from hack.kubernetes.arguments import SERVICE, Places, apiserver_argv, etcd_argv
from hack.kubernetes.build import APISERVER, ETCD
from hack.kubernetes.pki import Authority, make_kubeconfig, write_account_keys
from hack.kubernetes.ports import free_ports
from hack.kubernetes.processes import Daemon
from hack.lab.errors import LabError
from hack.lab.rundir import run_folder

ADMINISTRATORS = "system:masters"
READY_SECONDS = 120.0
_INTERVAL = 0.1
_ERRORS = (OSError, HTTPException)


class ControlPlane:
    """`with ControlPlane() as plane: …`. On loopback, or on `address`, where machines reach it.

    `durable` has etcd write to its disk before it answers, as a cluster's does.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        durable: bool = False,
        options: tuple[str, ...] = (),
        logs: Path | None = None,
    ) -> None:
        """`options` are more of the API server's own; `logs` is where its words go that outlive it."""
        self._stack = ExitStack()
        self._address = address
        self._port = port
        self._logs = logs
        self._durable = durable
        self._options = options

    def __enter__(self) -> "ControlPlane":
        with self._stack:
            self.folder = self._stack.enter_context(run_folder())
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        etcd, apiserver = ensure_program(ETCD), ensure_program(APISERVER)
        port, etcd_port, peer_port = free_ports(3)
        self._places = Places(self.folder, self._address, self._port or port, etcd_port, peer_port)
        self.server = self._places.server
        self._authority = Authority()
        self._write_certificates()
        self.etcd = self.daemon("etcd", etcd_argv(etcd, self._places, durable=self._durable))
        self.apiserver = self.daemon(
            "kube-apiserver", [*apiserver_argv(apiserver, self._places), *self._options]
        )
        self._admin = self.kubeconfig("administrator", (ADMINISTRATORS,))
        self.etcd.start()
        self.apiserver.start()
        self.wait_ready()

    def daemon(self, name: str, argv: Sequence[str]) -> Daemon:
        """A program beside it, which ends before it does; not started yet."""
        daemon = Daemon(argv, (self._logs or self.folder) / f"{name}.log")
        self._stack.callback(daemon.end)
        return daemon

    def _write_certificates(self) -> None:
        (self.folder / "ca.crt").write_bytes(self._authority.certificate)
        names = ("kubernetes", "kubernetes.default.svc", "localhost")
        addresses = (self._address, "127.0.0.1", SERVICE)
        self._authority.issue_server(addresses, names).write(self.folder, "apiserver")
        kubelets = self._authority.issue_client("kube-apiserver-kubelet-client", (ADMINISTRATORS,))
        kubelets.write(self.folder, "kubelet-client")
        self._probe = self._authority.issue_client("probe", (ADMINISTRATORS,))
        self._probe.write(self.folder, "probe")
        write_account_keys(self.folder)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def address(self) -> tuple[str, int]:
        """Of the API server."""
        return self._places.address, self._places.port

    def kubeconfig(self, user: str, groups: tuple[str, ...] = (), server: str | None = None) -> Path:
        """A file for whoever is to ask as `user`; `server` when it is to go another way."""
        client = self._authority.issue_client(user, groups)
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        path.write_text(make_kubeconfig(server or self.server, self._authority.certificate, client))
        return path

    @property
    def admin_kubeconfig(self) -> Path:
        return self._admin

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Until the API server says that it is; LabError when it, or etcd, ends instead."""
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            self.etcd.require_alive()
            self.apiserver.require_alive()
            if time.monotonic() >= deadline:
                raise LabError(f"kube-apiserver: not ready within {timeout:g} s: see {self.apiserver.log}")
            time.sleep(_INTERVAL)

    def _is_ready(self) -> bool:
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        trust.load_cert_chain(self.folder / "probe.crt", self.folder / "probe.key")
        connection = HTTPSConnection(*self.address, timeout=5, context=trust)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except _ERRORS:
            return False
        finally:
            connection.close()

    def compact(self) -> None:
        """Have etcd forget all but the newest state, as it does every five minutes in a cluster."""
        header = self._ask_etcd("/v3/kv/range", {"key": "AA=="})["header"]
        assert isinstance(header, dict)  # noqa: S101 (for the type checker)
        self._ask_etcd("/v3/kv/compaction", {"revision": header["revision"], "physical": True})

    def _ask_etcd(self, path: str, question: dict[str, object]) -> dict[str, object]:
        connection = HTTPConnection("127.0.0.1", self._places.etcd_port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(question))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise LabError(f"etcd answers {path} with status {answer.status}: {body!r}")
            found: dict[str, object] = json.loads(body)
            return found
        finally:
            connection.close()
