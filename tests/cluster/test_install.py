"""What there is once the chart is installed, and a pool applied."""

import json
from pathlib import Path

import pytest

from hack.helm.chart import NAMESPACE
from hack.lab.paths import REPOSITORY
from replication.kernel.run import run
from tests.cluster.pods import POOL, STORAGE_CLASS, Cluster

NODES = {"m1", "m2", "m3"}


def test_a_pool_has_the_disk_of_each_node_and_its_classes(cluster: Cluster) -> None:
    table = cluster.kubectl.run("get", "diskpools", "--namespace", NAMESPACE).splitlines()
    columns, *rows = (line.split() for line in table)
    assert columns == ["NAME", "NODE", "CAPACITY", "AVAILABLE", "USED", "RESERVED", "READY", "AGE"]
    assert {row[1] for row in rows} == NODES
    assert all(int(row[2]) == sum(map(int, row[3:6])) for row in rows), (
        "it adds up, also while they are wiped"
    )
    names = {found["metadata"]["name"] for found in cluster.list("volumeattributesclasses")}
    assert names == {f"{STORAGE_CLASS}-{tier}" for tier in ("basic", "standard", "premium")}
    (pool,) = cluster.kubectl.run("get", "sp", POOL, "--namespace", NAMESPACE, "--no-headers").splitlines()
    assert pool.split()[:4] == [POOL, "True", "3", "3"]


def test_the_administrators_command_runs_in_a_controllers_pod(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kubectl").symlink_to(cluster.kubectl.program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubectl.kubeconfig))
    plugin = str(REPOSITORY / "deploy/kubectl-trilith")
    nodes = json.loads(run((plugin, "--output", "json", "node", "list"), timeout=120))
    assert {node["name"] for node in nodes} == NODES
    assert all(node["kernel"] for node in nodes), "the agents answered"
