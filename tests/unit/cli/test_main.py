"""Help, options, and how errors leave the command."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from replication.cli.exits import MEANINGS
from replication.cli.main import COMMANDS, main
from replication.cli.reference import find_commands, render_reference
from replication.cli.session import World
from replication.control.control import Control
from tests.unit.cli.conftest import Cluster

ROOT = Path(__file__).parents[3]


def test_help_lists_the_commands_and_the_exit_statuses(cluster: Cluster) -> None:
    said = cluster.say("--help")
    assert all(name in said and summary in said for name, summary in COMMANDS.items())
    assert all(meaning in said for meaning in MEANINGS.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_what_help_says_of_a_command_is_what_the_command_says(cluster: Cluster, name: str) -> None:
    assert COMMANDS[name] in cluster.say(name, "--help")


def test_the_reference_is_what_the_commands_say() -> None:
    """If this fails: python -m replication.cli.reference > docs/cli.md"""
    assert (ROOT / "docs" / "cli.md").read_text() == render_reference()


def test_every_command_explains_itself() -> None:
    assert all(command.help for _, command in find_commands())


def test_an_unknown_command_is_a_usage_error(cluster: Cluster) -> None:
    assert "No such command" in cluster.fail(2, "volumes")
    assert "No such command" in cluster.fail(2, "volume", "clone")


def test_an_error_says_what_and_what_to_do(cluster: Cluster) -> None:
    said = cluster.fail(3, "volume", "show", "nothing").splitlines()
    assert said[0] == "error: no volume has the name or id 'nothing'"
    assert said[1].startswith("hint: see what there is with `trilith volume list`")


def test_an_error_for_programs_is_an_object(cluster: Cluster) -> None:
    report = json.loads(cluster.fail(3, "--output", "json", "volume", "show", "nothing"))
    assert (report["error"], report["status"]) == ("NotFound", 3)


def test_a_folder_without_a_cluster_is_said_to_be_that(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--state", str(tmp_path), "status"])
    assert result.exit_code == 5
    assert "there is no cluster here" in result.stderr
    assert "`trilith cluster init`" in result.stderr


def test_a_file_that_may_not_be_read_is_no_traceback(tmp_path: Path) -> None:
    def forbidden(state: Path, _: str) -> Control:
        raise PermissionError(13, "Permission denied", str(state))

    result = CliRunner().invoke(main, ["--state", str(tmp_path), "status"], obj=World(forbidden))
    assert result.exit_code == 7
    assert result.stderr.startswith(f"error: {tmp_path}: Permission denied\n")


def test_the_state_folder_may_come_from_the_environment(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["status"], env={"TRILITH_STATE": str(tmp_path)})
    assert str(tmp_path) in result.stderr
