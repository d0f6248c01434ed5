"""Each alert fires for what it is named for, and for nothing else: its rule against what is really told."""

import operator
import re
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import pytest
import yaml
from prometheus_client.registry import Collector

from csi.cluster.sidecars import Sidecars
from replication.control.metrics import Metrics
from replication.control.redundancy import Health
from replication.control.survey import Survey
from replication.model import ArrayReport, NodeFacts, Phase, Volume, VolumeGroup
from tests.fakes.clock import HandClock
from tests.unit.control.records import volume
from tests.unit.control.test_metrics import Samples

ALERTS = Path(__file__).parents[3] / "deploy" / "alerts.yaml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
NOW = HandClock().now()
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
}
SOCKET = Path("/csi/leader.sock")
MISSING = "TrilithSidecarsMissing"
Labels = tuple[tuple[str, str], ...]


def find_series(rule: str, told: Samples) -> list[Labels]:
    """For which it is true. Of PromQL, what our rules use: sums of products, compared, and an absence."""
    return [found for part in rule.split(" or ") for found in _find_series(part, told)]


def _find_series(part: str, told: Samples) -> list[Labels]:
    name, label, value = re.findall(r'(trilith_\w+)(?:\{(\w+)="(\w+)"\})?', part)[0]
    series = [labels for known, labels in told if known == name and (not label or (label, value) in labels)]
    if part == f"absent({name})":
        return [] if series else [()]
    left, sign, right = re.split(r" (<|>|==) ", part)
    return [each for each in series if COMPARISONS[sign](_sum(left, told, each), _sum(right, told, each))]


def _sum(side: str, told: Samples, labels: Labels) -> float:
    return sum(prod(_read(word, told, labels) for word in term.split(" * ")) for term in side.split(" + "))


def _read(word: str, told: Samples, labels: Labels) -> float:
    name = word.partition("{")[0]
    return told[name, labels] if name.startswith("trilith_") else float(word)


def look(
    record: Volume | None = None, *, held: float = 0.0, free: int = 500, nodes: str = "a", age: float = 0.0
) -> Survey:
    """A volume, whose writes have waited for `held`, on one node of `nodes`, with `free` left of 1000."""
    report = ArrayReport("v0", 1, 0, (), resync_done=True, held_seconds=held)
    group = VolumeGroup("vg", "nvme", "/dev/0", 1000, free, 40)
    facts = NodeFacts("a", "cluster", "boot-1", "", True, (), (group,), (), (report,))
    return Survey(frozenset(nodes), {"a": facts}, {"v0": record or volume()}, (), {}, NOW - age)


HEALTHS = {
    Health.LOST: look(volume("sss", lost_since=1.0)),
    Health.WAITING: look(held=5.0),
    Health.DEGRADED: look(volume("iis")),
    Health.REBUILDING: look(volume("iir")),
    Health.REDUNDANT: look(),
    Health.CREATING: look(volume("sss", phase=Phase.CREATING)),
    Health.DELETING: look(volume("sss", phase=Phase.DELETING)),
}
OF_HEALTH = {Health.LOST: "TrilithVolumeLost", Health.DEGRADED: "TrilithVolumeDegraded"}
OTHERS = {
    "ten seconds": (look(held=10.0), ""),
    "longer": (look(held=10.1), "TrilithWritesWait"),
    "silent node": (look(nodes="ab"), "TrilithNodeDown"),
    "a tenth left": (look(free=60), ""),
    "less left": (look(free=59), "TrilithPoolFull"),
    "two minutes": (look(age=120.0), ""),
    "longer ago": (look(age=120.5), "TrilithNotWatched"),
    "never looked": (None, "TrilithNotWatched"),
}


def find_firing(survey: Survey | None, sidecars: Path | None = None) -> dict[str, set[str]]:
    """By alert, the labels that it has. `sidecars` are the kernel's sockets, of a leader in Kubernetes."""
    metrics = Metrics(HandClock())
    metrics.note(survey)
    collectors: list[Collector] = [metrics]
    collectors += [Sidecars(SOCKET, lambda: True, sidecars)] if sidecars else []
    told = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for collector in collectors
        for family in collector.collect()
        for sample in family.samples
    }
    found = {rule["alert"]: find_series(rule["expr"], told) for rule in RULES}
    return {alert: {name for name, _ in series[0]} for alert, series in found.items() if series}


@pytest.mark.parametrize("health", Health)
def test_of_volumes_the_lost_and_the_degraded_are_alarming(health: Health) -> None:
    assert list(find_firing(HEALTHS[health])) == ([OF_HEALTH[health]] if health in OF_HEALTH else [])


@pytest.mark.parametrize(("survey", "alert"), OTHERS.values(), ids=OTHERS)
def test_an_alert_fires_beyond_its_bound(survey: Survey | None, alert: str) -> None:
    assert list(find_firing(survey)) == ([alert] if alert else [])


@pytest.mark.parametrize(("count", "alert"), [(0, MISSING), (2, MISSING), (3, ""), (4, "")])
def test_a_leader_that_lacks_a_sidecar_is_alarming(tmp_path: Path, count: int, alert: str) -> None:
    firing = find_firing(look(), connect(tmp_path, count))
    assert list(firing) == ([alert] if alert else [])


def connect(folder: Path, count: int) -> Path:
    """So many connections, as the kernel has them."""
    row = f"0: 00000003 00000000 00000000 0001 03 1660 {SOCKET}\n"
    table = folder / "unix"
    table.write_text("Num RefCount Protocol Flags Type St Inode Path\n" + count * row)
    return table


def test_each_alert_is_tested_and_speaks_of_labels_that_it_has(tmp_path: Path) -> None:
    cases = [*HEALTHS.values(), *(survey for survey, _ in OTHERS.values())]
    firing = {alert: labels for survey in cases for alert, labels in find_firing(survey).items()}
    firing |= find_firing(look(), connect(tmp_path, 2))
    assert set(firing) == {rule["alert"] for rule in RULES}
    for rule in RULES:
        words = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", words)) <= firing[rule["alert"]]
