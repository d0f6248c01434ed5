"""Another release, while every node writes: agents and controllers are replaced one after another.

Two pods a node: fio, as users run it, and the checker, which knows every write that was acknowledged.
"""

from contextlib import ExitStack

import pytest

from hack.bench.figures import Board, Figure, Goal
from hack.helm.chart import NAMESPACE
from hack.image.build import TAG
from hack.kubernetes.installation import Installation
from hack.kubernetes.worker import tag_image
from tests.cluster.loading import loading, make_load
from tests.cluster.pods import STORAGE_CLASS, Cluster, ephemeral, make_pod
from tests.cluster.writing import are_redundant, writing

REPOSITORY, _, VERSION = TAG.rpartition(":")
NEXT = f"{TAG}-next"
NODES = ("m1", "m2", "m3")

LONGEST_STALL = 20.0
"""Five times the longest that was measured: more is no slow machine, but writes that waited for an agent."""


@pytest.mark.more
@pytest.mark.timeout(3600)
def test_an_upgrade_costs_no_error_and_no_long_stall(installation: Installation, cluster: Cluster) -> None:
    for name in NODES:
        tag_image(cluster.machines[name], TAG, NEXT)
        volume = ephemeral(STORAGE_CLASS, "16Mi", block=True)
        cluster.apply(make_pod(f"user-{name}", volume, node=name, block=True), make_load(f"fio-{name}", name))
    for name in NODES:
        cluster.wait_for_condition(f"user-{name}")
        cluster.wait_for_condition(f"fio-{name}")
    with ExitStack() as stack:
        loads = [stack.enter_context(loading(cluster, f"fio-{name}")) for name in NODES]
        users = [stack.enter_context(writing(cluster, f"user-{name}")) for name in NODES]
        for user in users:
            user.collector.restart_stall_watch()
        installation.upgrade(f"image.tag={VERSION}-next")
        longest = max(user.collector.stall() for user in users)
        verdicts = [user.finish() for user in users]
    board = Board("upgrade")
    board.add(Figure("longest-stall", longest, "s", Goal("<=", 2.0)))
    of_fio = max(load.longest for load in loads)
    board.add(Figure("longest-write-of-fio", of_fio, "s", Goal("<=", 2.0)))
    assert [load.error for load in loads] == [0, 0, 0]
    assert min(load.writes for load in loads) > 0
    assert [verdict.lost for verdict in verdicts] == [(), (), ()]
    assert max(longest, of_fio) <= LONGEST_STALL
    cluster.wait(lambda: list_images(cluster) == {NEXT}, "the last of the old release gone")
    cluster.wait(lambda: are_redundant(cluster), "every volume whole")


def list_images(cluster: Cluster) -> set[str]:
    """Of ours, that controllers and nodes' pods have."""
    selector = "app.kubernetes.io/component in (controller, node)"
    pods = cluster.kubectl.get("pods", "--namespace", NAMESPACE, "--selector", selector)
    images = (container["image"] for pod in pods for container in pod["spec"]["containers"])
    return {image for image in images if REPOSITORY in image}
