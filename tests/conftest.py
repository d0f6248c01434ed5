"""For all tests: no property is judged by the clock, since a machine that runs tests has other work."""

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How far the enumeration went: a test that passes says no more than that it did."""
    passed = terminalreporter.stats.get("passed", ())
    told = [words for report in passed for name, words in report.user_properties if name == "enumeration"]
    if told:
        terminalreporter.section("enumeration")
        terminalreporter.write_line("\n".join(told))
