"""kubectl, as users have it: the cluster's administrator at a prompt."""

import json
import subprocess
from pathlib import Path
from typing import Any

from hack.lab.errors import LabError

Json = dict[str, Any]


class Kubectl:
    """The program `program` with the credentials of `kubeconfig`."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        self._argv = (str(program), f"--kubeconfig={kubeconfig}")

    def run(self, *words: str, stdin: str = "", timeout: float = 120) -> str:
        """What it prints. LabError with what it complains of."""
        done = subprocess.run(
            [*self._argv, *words], input=stdin, check=False, capture_output=True, text=True, timeout=timeout
        )
        if done.returncode:
            raise LabError(f"kubectl {' '.join(words)}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *documents: Json) -> None:
        """Made, or made so."""
        self.run(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        )

    def get(self, kind: str, *words: str) -> list[Json]:
        """All of a kind, or of those that `words` select."""
        items: list[Json] = json.loads(self.run("get", kind, *words, "-o", "json"))["items"]
        return items

    def find(self, kind: str, name: str, *words: str) -> Json | None:
        found = self.run("get", kind, name, *words, "--ignore-not-found", "-o", "json")
        return None if not found.strip() else dict(json.loads(found))
