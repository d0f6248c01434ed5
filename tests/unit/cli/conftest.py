"""The command, run in this process over a control plane and nodes that are fakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from replication.cli.main import main
from replication.cli.session import World
from replication.clock import SystemClock
from replication.control.control import Control, build_control
from replication.control.lifecycle import VolumeRequest
from replication.control.store.memory import MemoryStore
from replication.model import MIB, Node, Volume
from tests.fakes.node import FakeCluster


@dataclass
class ScriptedClock:
    """Time passes only by sleeping; `scripts` are run, one at each sleep, and then it is interrupted."""

    time: float = 1000.0
    scripts: list[Callable[[], object]] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        if not self.scripts:
            raise KeyboardInterrupt
        self.scripts.pop(0)()


@dataclass(frozen=True)
class Cluster:
    """Three nodes, each with a disk, and nothing else yet."""

    control: Control
    fakes: FakeCluster
    clock: ScriptedClock
    state: Path

    def run(self, *words: str) -> Result:
        world = World(lambda *_: self.control, self.clock)
        return CliRunner().invoke(main, ["--state", str(self.state), *words], obj=world, prog_name="trilith")

    def say(self, *words: str) -> str:
        """Standard output of a command that must succeed."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    def read(self, *words: str) -> Any:  # noqa: ANN401 (JSON)
        """The JSON of a command that must succeed."""
        return json.loads(self.say("--output", "json", *words))

    def fail(self, status: int, *words: str) -> str:
        """Standard error of a command that must fail with `status`."""
        result = self.run(*words)
        assert result.exit_code == status, (result.exit_code, result.output)
        assert "Traceback" not in result.stderr
        return result.stderr

    def crash(self, node: str) -> None:
        self.fakes.node(node).silent = True


@pytest.fixture
def empty(tmp_path: Path) -> Cluster:
    """Nodes that no one has added yet."""
    fakes = FakeCluster(["m1", "m2", "m3"])
    control = build_control(MemoryStore(fakes.name), fakes.connect, SystemClock())
    return Cluster(control, fakes, ScriptedClock(), tmp_path / "state")


@pytest.fixture
def bare(empty: Cluster) -> Cluster:
    """Nodes without a pool."""
    for name in empty.fakes.nodes:
        empty.control.nodes.add(Node(name, f"{name}:7000", f"data-{name}"))
    return empty


@pytest.fixture
def cluster(bare: Cluster) -> Cluster:
    """Nodes with a pool `nvme`."""
    bare.control.pools.create("nvme", ("m1", "m2", "m3"), 3)
    return bare


@pytest.fixture
def volume(cluster: Cluster) -> Volume:
    """`data`, attached to m1."""
    made = cluster.control.volumes.create(VolumeRequest("data", 256 * MIB, "nvme"))
    cluster.control.volumes.attach(made.id, "m1")
    return cluster.control.volumes.get(made.id)
