"""Each error ends the command with its status, a message and a hint."""

import json

import pytest

from replication import errors
from replication.cli.exits import EPILOG, MEANINGS, choose_advice, report_error

EXPECTED = {
    errors.TrilithError: 1,
    errors.KernelError: 1,
    errors.InvalidRequest: 2,
    errors.NotFound: 3,
    errors.AlreadyExists: 4,
    errors.FailedPrecondition: 5,
    errors.Unsupported: 5,
    errors.OutOfSpace: 6,
    errors.OutOfRange: 6,
    errors.Unavailable: 7,
    errors.TimedOut: 7,
    errors.Conflict: 8,
    errors.StaleEpoch: 8,
    errors.DataLoss: 9,
    errors.Unauthenticated: 10,
}


@pytest.mark.parametrize(("error", "status"), EXPECTED.items(), ids=lambda v: getattr(v, "__name__", None))
def test_each_error_has_its_status(error: type[errors.TrilithError], status: int) -> None:
    assert choose_advice(error("why")).status == status


def test_every_status_is_explained() -> None:
    assert set(EXPECTED.values()) | {0} == set(MEANINGS)
    assert all(meaning in EPILOG for meaning in MEANINGS.values())


def test_an_error_is_a_message_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(errors.NotFound("no pool x"), "pool", as_json=False) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "error: no pool x",
        "hint: see what there is with `trilith pool list` or `trilith status`",
    ]


def test_an_error_for_programs_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(errors.TimedOut("m2: not within 5 s"), "node", as_json=True) == 7
    report = json.loads(capsys.readouterr().err)
    assert (report["error"], report["message"], report["status"]) == ("TimedOut", "m2: not within 5 s", 7)
    assert report["hint"]
