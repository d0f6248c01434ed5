"""fio in a pod for as long as a test wants it, and what it saw of its volume by its own account."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hack.kubernetes.linked import FIO
from tests.cluster.pods import DEVICE, STORAGE_CLASS, Cluster, Json, ephemeral, make_pod

_WORDS = {
    "name": "load",
    "filename": DEVICE,
    "direct": "1",
    "rw": "randwrite",
    "bs": "4k",
    "fsync": "8",
    "rate_iops": "20",
    "time_based": "1",
    "runtime": "100000",
    "output-format": "json",
}
"""Few writes: each node of the lab has one emulated processor, which the upgrade wants too."""


@dataclass(slots=True)
class Seen:
    """By fio, when it has ended."""

    error: int = -1  # its first, as in errno; 0: none
    writes: int = 0
    longest: float = 0.0  # seconds that a write or a flush took


def make_load(name: str, node: str) -> Json:
    pod = make_pod(
        name,
        ephemeral(STORAGE_CLASS, "16Mi", block=True),
        node=node,
        block=True,
        restartPolicy="Never",
        terminationGracePeriodSeconds=60,
    )
    (container,) = pod["spec"]["containers"]
    container |= {"image": FIO, "command": ["fio", *(f"--{key}={value}" for key, value in _WORDS.items())]}
    container["resources"] = {
        "requests": {"cpu": "50m"}
    }  # without, it waits for a processor, not for its volume
    return pod


@contextmanager
def loading(cluster: Cluster, pod: str) -> Iterator[Seen]:
    """Of a pod of `make_load` that is ready. What it saw is known when the block has ended."""
    seen = Seen()
    yield seen
    cluster.end(pod)
    (job,) = parse_output(cluster.kubectl.run("logs", pod))["jobs"]
    seen.error, seen.writes = job["error"], job["write"]["total_ios"]
    seen.longest = max(job["write"]["clat_ns"]["max"], job["sync"]["lat_ns"]["max"]) / 1e9


def parse_output(said: str) -> Json:
    """What fio printed: it tells that it was ended before what it has found."""
    found: Json = json.loads(said[said.index("{") :])
    return found
