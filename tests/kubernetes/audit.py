"""Which requests the API server was asked: by its own audit log."""

from collections.abc import Iterator
from pathlib import Path

import yaml

WATCHED = ("trilith-control", "trilith-node", "trilith-uninstall")
"""Accounts whose requests are logged."""


def write_policy(folder: Path, namespace: str) -> tuple[str, ...]:
    """The API server's options. A watch goes on: that it started is enough."""
    users = [f"system:serviceaccount:{namespace}:{name}" for name in WATCHED]
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": users}, {"level": "None"}],
    }
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy))
    return (f"--audit-policy-file={folder / 'policy.yaml'}", f"--audit-log-path={folder / 'audit.log'}")


def read_lines(folder: Path) -> Iterator[str]:
    """Of all servers whose logs are in `folder`."""
    for log in folder.rglob("audit.log"):
        yield from log.read_text().splitlines()
