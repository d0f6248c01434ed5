"""`trilith doctor`: says first, removes when told, and never what may hold data unless that is told too."""

import json

import pytest
from click.testing import CliRunner

from replication.cli.main import main
from replication.cli.session import World
from replication.traces import Trace, TraceKind
from tests.unit.cli.conftest import Cluster

STRANGER = "vffffffffffffffff"
EMPTY = Trace(TraceKind.LOGICAL_VOLUME, f"vg/{STRANGER}_r0", STRANGER, "r0")
WRITTEN = Trace(TraceKind.LOGICAL_VOLUME, f"vg/{STRANGER}_r1", STRANGER, "r1", 3, written=True)
ARRAY = Trace(TraceKind.ARRAY, f"md_{STRANGER}", STRANGER)


@pytest.mark.usefixtures("volume")
def test_a_sound_cluster_is_called_so(cluster: Cluster) -> None:
    assert cluster.say("doctor").startswith("nothing found")
    assert cluster.read("doctor") == {"findings": [], "silent": {}, "changing": []}


def test_it_says_and_removes_nothing_by_itself(cluster: Cluster) -> None:
    cluster.fakes.node("m2").strays += [EMPTY, ARRAY]
    result = cluster.run("doctor")
    assert result.exit_code == 5
    assert "2 things found that should not be so" in result.stderr
    assert f"md_{STRANGER}" in result.stdout
    assert "no record knows its volume" in result.stdout
    assert cluster.fakes.node("m2").strays == [EMPTY, ARRAY]


def test_it_removes_after_a_yes_and_not_after_a_no(cluster: Cluster) -> None:
    cluster.fakes.node("m2").strays.append(EMPTY)
    world = World(lambda *_: cluster.control, cluster.clock)
    words = ["--state", str(cluster.state), "doctor", "--remove"]
    refused = CliRunner().invoke(main, words, obj=world, input="n\n")
    assert refused.exit_code == 1
    assert "remove 1 thing?" in refused.stderr
    assert cluster.fakes.node("m2").strays == [EMPTY]
    done = CliRunner().invoke(main, words, obj=world, input="y\n")
    assert done.exit_code == 0
    assert cluster.fakes.node("m2").strays == []


def test_what_may_hold_data_needs_a_word_of_its_own(cluster: Cluster) -> None:
    cluster.fakes.node("m3").strays += [EMPTY, WRITTEN]
    result = cluster.run("-o", "json", "doctor", "--remove", "--yes")
    assert result.exit_code == 5
    said = json.loads(result.stdout)["findings"]
    assert [(f["name"], f["removed"], f["may_hold_data"]) for f in said] == [
        (EMPTY.name, True, False),
        (WRITTEN.name, False, True),
    ]
    assert cluster.fakes.node("m3").strays == [WRITTEN]
    cluster.say("doctor", "--remove", "--yes", "--accept-data-loss")
    assert cluster.fakes.node("m3").strays == []


def test_what_cannot_be_removed_is_said_and_the_rest_goes(cluster: Cluster) -> None:
    node = cluster.fakes.node("m1")
    node.strays += [ARRAY, EMPTY]
    node.used_strays.add(ARRAY.name)
    assert "1 thing not removed: array" in cluster.fail(5, "doctor", "--remove", "--yes")
    assert node.strays == [ARRAY]


def test_a_node_that_does_not_answer_leaves_the_question_open(cluster: Cluster) -> None:
    cluster.crash("m3")
    assert "not every node could be looked at: node m3" in cluster.fail(7, "doctor")
