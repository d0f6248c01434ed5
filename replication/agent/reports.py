"""The newest report of each array, and everybody who waits for the next one."""

import threading
from typing import Self

from replication.model import ArrayReport
from replication.trouble import in_trouble

REPEAT = 1.0  # seconds between reports of an array in trouble


class Reports:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: dict[str, ArrayReport] = {}

    def publish(self, report: ArrayReport) -> bool:
        """False, and nothing is done, where a look that began later has been published already."""
        with self._changed:
            newest = self._newest.get(report.volume_id)
            if newest is not None and newest.sequence > report.sequence:
                return False
            if not _same(newest, report):
                self._changed.notify_all()
            self._newest[report.volume_id] = report
            return True

    def forget(self, volume_id: str) -> None:
        with self._changed:
            self._newest.pop(volume_id, None)

    def list_all(self) -> tuple[ArrayReport, ...]:
        with self._changed:
            return tuple(self._newest.values())

    def listen(self) -> "Listener":
        return Listener(self._changed, self._newest)


class Listener:
    """What NodeApi.watch returns. It knows what it has told, and tells what is new or still in trouble."""

    def __init__(self, changed: threading.Condition, newest: dict[str, ArrayReport]) -> None:
        self._changed = changed
        self._newest = newest
        self._told: dict[str, ArrayReport] = {}
        self._pending: list[ArrayReport] = []
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ArrayReport:
        with self._changed:
            while not self._pending and not self._closed:
                self._pending = self._news() or self._wait()
            if self._closed:
                raise StopIteration
            report = self._pending.pop(0)
            self._told[report.volume_id] = report
            return report

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self) -> list[ArrayReport]:
        """News, or after a while everything that is still in trouble."""
        self._changed.wait(REPEAT if any(map(in_trouble, self._newest.values())) else None)
        return self._news() or [report for report in self._newest.values() if in_trouble(report)]

    def _news(self) -> list[ArrayReport]:
        return [each for each in self._newest.values() if not _same(self._told.get(each.volume_id), each)]


def _same(told: ArrayReport | None, report: ArrayReport) -> bool:
    """Whether the difference can wait: progress and held time change all the while."""
    if told is None:
        return False
    return _facts(told) == _facts(report)


def _facts(report: ArrayReport) -> tuple[object, ...]:
    what = (report.members, report.resync_done, report.tuning, report.activity)
    return (report.epoch, report.record_version, *what)
