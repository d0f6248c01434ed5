"""What the service accounts of one namespace ask of the API server, by its audit log."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

_POLICY, _LOG = "audit-policy.yaml", "audit.jsonl"


@dataclass(frozen=True, slots=True, order=True)
class Request:
    """One that was answered. A watch is one when it ends."""

    account: str
    program: str  # by its user agent
    verb: str
    resource: str  # with its subresource, as in pods/status; "" of a path that is no object's


class AuditLog:
    """In `folder`, of an API server that was started with `options`."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder
        self._namespace = namespace

    def options(self) -> tuple[str, ...]:
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [
                {"level": "Metadata", "userGroups": [f"system:serviceaccounts:{self._namespace}"]},
                {"level": "None"},
            ],
        }
        (self._folder / _POLICY).write_text(yaml.safe_dump(policy))
        return (
            f"--audit-policy-file={self._folder / _POLICY}",
            f"--audit-log-path={self._folder / _LOG}",
        )

    def position(self) -> int:
        """From where on `read` finds what is asked after now."""
        path = self._folder / _LOG
        return path.stat().st_size if path.exists() else 0

    def read(self, position: int) -> Counter[Request]:
        """The API server writes an event before it answers: none is cut short once all is quiet."""
        with (self._folder / _LOG).open("rb") as file:
            file.seek(position)
            return Counter(parse_event(line) for line in file.read().splitlines())

    def read_lines(self) -> list[str]:
        """All of it, an event each."""
        return (self._folder / _LOG).read_text().splitlines()


def parse_event(line: bytes) -> Request:
    event = json.loads(line)
    account = event["user"]["username"].rpartition(":")[2]
    program = event.get("userAgent", "").partition("/")[0]
    asked = event.get("objectRef", {})
    parts = [asked[part] for part in ("resource", "subresource") if part in asked]
    return Request(account, program, event["verb"], "/".join(parts))


def by_program(requests: Iterable[tuple[Request, float]]) -> dict[str, float]:
    """With its account; most first."""
    found: dict[str, float] = {}
    for request, count in requests:
        who = f"{request.account} {request.program}"
        found[who] = found.get(who, 0) + count
    return dict(sorted(found.items(), key=lambda each: -each[1]))
