import json

import pytest

from hack.bench.fio import Job, format_argv, parse_rates, ratios
from hack.lab.errors import LabError


def output(*jobs: tuple[float, float], error: int = 0) -> str:
    """As fio 3.33 prints it, cut down to what is read; (read, write) operations a second of each job."""
    found = [
        {"jobname": str(number), "error": error, "read": {"iops": read}, "write": {"iops": write}}
        for number, (read, write) in enumerate(jobs)
    ]
    return json.dumps({"fio version": "fio-3.33", "jobs": found})


def test_devices_are_measured_one_after_the_other_in_the_order_given() -> None:
    words = format_argv(Job("randread", "4k", 32), ("/dev/a", "/dev/b", "/dev/a"))
    assert words[-9:] == [
        *("--name=0", "--stonewall", "--filename=/dev/a"),
        *("--name=1", "--stonewall", "--filename=/dev/b"),
        *("--name=2", "--stonewall", "--filename=/dev/a"),
    ]
    assert {"--rw=randread", "--bs=4k", "--iodepth=32", "--direct=1"} <= set(words)


def test_what_holds_for_all_devices_comes_before_the_first() -> None:
    words = format_argv(Job("write", "1m", 4, seconds=3, ramp=0.25), ("/dev/a",))
    assert {"--runtime=3s", "--ramp_time=250ms"} <= set(words[: words.index("--name=0")])


@pytest.mark.parametrize(
    ("kind", "rates"), [("randread", (1.5, 3.0)), ("randwrite", (2.0, 4.0)), ("write", (2.0, 4.0))]
)
def test_the_rate_is_that_of_what_was_asked(kind: str, rates: tuple[float, ...]) -> None:
    assert parse_rates(output((1.5, 2.0), (3.0, 4.0)), kind) == rates


def test_warnings_before_the_report_are_passed_over() -> None:
    assert parse_rates("note: both iodepth >= 1 and synchronous\n" + output((1.0, 0.0)), "read") == (1.0,)


def test_an_error_is_raised_and_not_measured() -> None:
    with pytest.raises(LabError, match="device number 0, 1"):
        parse_rates(output((1.0, 0.0), (1.0, 0.0), error=5), "randread")


def test_a_round_is_there_and_back_again() -> None:
    assert ratios((90, 100, 100, 90)) == pytest.approx((0.9,))


def test_what_drifts_evenly_does_not_change_a_ratio() -> None:
    """Everything becomes 10 % slower from one measurement to the next."""
    rates = [100 * 0.9**step for step in range(8)]
    assert ratios(rates) == pytest.approx((1.0, 1.0))


def test_half_a_round_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios((1.0, 2.0))
