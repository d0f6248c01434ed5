"""`trilith node check`, of the machine that this runs on: whatever it lacks, it is told in both forms."""

import json
from pathlib import Path

from click.testing import CliRunner

from replication.cli.main import main
from replication.kernel.modules import MODULES


def test_it_says_the_same_to_people_and_to_programs(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=talos\n")
    words = ["node", "check", "--host-root", str(tmp_path)]
    plain = json.loads((parsed := CliRunner().invoke(main, ["--output", "json", *words])).output)
    shown = CliRunner().invoke(main, words)
    assert {f"module {name}" for name in MODULES} < {each["what"] for each in plain["findings"]}
    assert shown.exit_code == parsed.exit_code == (0 if plain["ready"] else 5)
    for finding in plain["findings"]:
        assert finding["what"] in shown.output
        assert (finding["remedy"] == "") is (finding["state"] == "ok")
        assert finding["remedy"] in shown.output


def test_it_needs_no_cluster(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--state", str(tmp_path / "none"), "node", "check"])
    assert "kernel" in done.output
    assert not (tmp_path / "none").exists()
