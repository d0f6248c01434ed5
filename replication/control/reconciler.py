"""The part of the control plane that runs all the time: it listens to arrays, and repairs unasked."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from replication.clock import Clock
from replication.control.adjusting import plan_minimums, plan_tunings
from replication.control.control import Control
from replication.control.events import Events
from replication.control.maintaining import Maintaining
from replication.control.metrics import Metrics
from replication.control.progress import Copy, tell
from replication.control.repair import Plan, Repair, Task
from replication.control.replacing import Replacing
from replication.control.reporting import Inbox, Reporting
from replication.control.returning import Returns
from replication.control.survey import Survey, take_survey
from replication.control.watching import Watchers
from replication.errors import Busy, Conflict, TrilithError
from replication.model import ArrayReport

INTERVAL = 1.0
CLEANING_INTERVAL = 10.0
LONGEST_BACKOFF = 30.0
LONGEST_TURN = 4.0
"""Until it is looked again whether somebody else's operation is over: two requests in Kubernetes."""

logger = logging.getLogger(__name__)


class Reconciler:
    """Several may run at once, in any process: records are swapped, operations locked."""

    def __init__(self, control: Control, clock: Clock) -> None:
        self.metrics = Metrics(clock)
        self._control = control
        self._clock = clock
        self._woken = threading.Event()
        self._tasks = Tasks(control, clock)
        self._copies = Copies(control.events, clock)
        reporting = Reporting(control.records, control.nodes, self._supersede)
        self.handle = reporting.handle
        self._inbox = Inbox(self._report, clock)
        self._watchers = Watchers(control.nodes, self._hear)
        self._repairs = Repairs(control, self.handle)
        self._repairing = False

    def run(self, stop: threading.Event) -> None:
        """Hear and repair, until `stop` is set."""
        hearing = threading.Thread(target=self.hear, args=(stop,), name="hearing", daemon=True)
        hearing.start()
        self.repair(stop)
        hearing.join()

    def hear(self, stop: threading.Event) -> None:
        """Listen to every array and record what is lost, until `stop` is set: once for each process.

        Every process of a control plane does it, so that no failure waits for a leader.
        """
        self._inbox.start()
        try:
            while not stop.is_set():
                self._listen()
                stop.wait(INTERVAL)
        finally:
            self._watchers.close()
            self._inbox.close()

    def repair(self, stop: threading.Event, tell: Callable[[Survey], object] | None = None) -> None:
        """What one process of a cluster is enough for, until `stop` is set; `tell` is told of each look.

        Nothing is remembered from the last time: somebody else may have repaired since.
        """
        self._repairs = Repairs(self._control, self.handle)
        self._repairing = True
        cleaned = float("-inf")
        while not stop.is_set():
            cleaning = self._clock.now() - cleaned >= CLEANING_INTERVAL
            if self._pass(cleaning=cleaning, tell=tell) and cleaning:
                cleaned = self._clock.now()
            self._woken.wait(INTERVAL)
            self._woken.clear()
        self._repairing = False
        self.metrics.note(None)

    def wake(self) -> None:
        """Something happened that may need repair. Also to be called after setting `stop`."""
        self._woken.set()

    def run_once(self) -> None:
        """One pass of all repairs, done when it returns; what fails is left for the next."""
        for plan in self._plans(cleaning=True, tell=None):
            for key, task in plan.items():
                self._tasks.run(key, task)

    def _listen(self) -> None:
        try:
            self._watchers.ensure()
        except TrilithError as error:
            logger.warning("new nodes are not heard: %s", error)

    def _pass(self, *, cleaning: bool, tell: Callable[[Survey], object] | None) -> bool:
        """False when the store does not answer."""
        try:
            for plan in self._plans(cleaning=cleaning, tell=tell):
                for key, task in plan.items():
                    self._tasks.start(key, task)
        except TrilithError as error:
            logger.warning("repairs wait: %s", error)
            return False
        return True

    def _plans(self, *, cleaning: bool, tell: Callable[[Survey], object] | None) -> Iterator[Plan]:
        yield from self._repairs.plan_restless()
        if cleaning:
            survey = take_survey(self._control.store, self._control.executor, self._clock)
            self.metrics.note(survey)
            self._control.first_look.learn(survey.facts, survey.volumes)
            if tell is not None:
                tell(survey)
            yield from self._repairs.plan_all(survey)

    def _hear(self, node: str, report: ArrayReport) -> None:
        """By the time that it is handled a newer one may have taken its place, that does not say why."""
        self._repairs.repair.notice(report)
        self._inbox.put(node, report)

    def _report(self, node: str, report: ArrayReport) -> None:
        self.metrics.note_report(report)
        self.handle(node, report)
        if self._repairing:  # it is told once
            self._copies.follow(report)
        self._woken.set()

    def _supersede(self, node: str, report: ArrayReport) -> None:
        key = ("abandon", node, report.volume_id)
        self._tasks.start(key, lambda: self._repairs.repair.abandon(node, report))


class Repairs:
    """Everything that is repaired unasked, and what has to be remembered for it."""

    def __init__(self, control: Control, handle: Callable[[str, ArrayReport], None]) -> None:
        self._control = control
        self.repair = Repair(control.store, control.records, control.executor, control.volumes.interrupted)
        self._returns = Returns(control.volumes)
        self._replacing = Replacing(control.records, control.executor, handle)
        self._maintaining = Maintaining(control.records, control.volumes, self._replacing)

    def plan_restless(self) -> Iterator[Plan]:
        """Of volumes that are being changed, or lack a replica."""
        yield self.repair.plan_interrupted()
        yield self.repair.plan_rebuilds()

    def plan_all(self, survey: Survey) -> Iterator[Plan]:
        yield self.repair.plan_cleaning(survey)
        yield self._replacing.plan(survey, self.repair.list_failing(survey.volumes.values()))
        yield self._maintaining.plan(survey)
        yield plan_minimums(self._control.records, survey)
        yield plan_tunings(self._control.executor, survey)
        yield self._returns.plan(survey)


class Copies:
    """Tells how copies go on. The reports of one array come one by one."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._known: dict[str, Copy] = {}

    def follow(self, report: ArrayReport) -> None:
        copy, words = tell(self._known.pop(report.volume_id, None), report, self._clock.now())
        if copy is not None:
            self._known[report.volume_id] = copy
        if words:
            self._events.write(report.volume_id, "copy" if copy else "copied", words)


@dataclass(frozen=True, slots=True)
class Failure:
    """How a task went wrong, how often in a row, and when it may be tried again."""

    message: str
    count: int
    not_before: float


@dataclass(frozen=True, slots=True)
class Turn:
    """How often in a row a task found somebody else at it, and when it may be tried again."""

    count: int
    not_before: float


class Tasks:
    """Things done in the background, each once at a time, less often while they fail or others are at it."""

    def __init__(self, control: Control, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._mutex = threading.Lock()
        self._running: set[tuple[str, ...]] = set()
        self._failures: dict[tuple[str, ...], Failure] = {}
        self._turns: dict[tuple[str, ...], Turn] = {}

    def find_failure(self, key: tuple[str, ...]) -> str:
        """Why it went wrong the last time; empty when it did not."""
        failure = self._failures.get(key)
        return failure.message if failure is not None else ""

    def start(self, key: tuple[str, ...], task: Task) -> None:
        """Unless it runs already, has failed just now, or others were at it just now."""
        found = (self._failures.get(key), self._turns.get(key))
        if any(each is not None and self._clock.now() < each.not_before for each in found):
            return
        with self._mutex:
            if key in self._running:
                return
            self._running.add(key)
        threading.Thread(target=self.run, args=(key, task), name=" ".join(key), daemon=True).start()

    def run(self, key: tuple[str, ...], task: Task) -> None:
        try:
            task()
            self._failures.pop(key, None)
        except Busy as error:
            logger.debug("%s waits for its turn: %s", " ".join(key), error)
            self._postpone(key)
        except Conflict as error:
            logger.debug("%s waits: %s", " ".join(key), error)
        except TrilithError as error:
            self._fail(key, str(error))
        finally:
            with self._mutex:
                self._running.discard(key)

    def _postpone(self, key: tuple[str, ...]) -> None:
        """Those that are long over are forgotten: others have done what was to be done."""
        now = self._clock.now()
        with self._mutex:
            kept = {k: turn for k, turn in self._turns.items() if now - turn.not_before < LONGEST_BACKOFF}
            count = kept[key].count + 1 if key in kept else 0
            self._turns = {**kept, key: Turn(count, now + _pause(count, LONGEST_TURN))}

    def _fail(self, key: tuple[str, ...], message: str) -> None:
        """An event for the first failure and each new reason, not for every attempt."""
        last = self._failures.get(key, Failure("", 0, 0.0))
        wait = _pause(last.count, LONGEST_BACKOFF)
        self._failures[key] = Failure(message, last.count + 1, self._clock.now() + wait)
        if message != last.message:
            self._control.events.write(key[2] if len(key) > 2 else key[1], f"{key[0]}-failed", message)


def _pause(count: int, longest: float) -> float:
    """Seconds until the next attempt, after `count` more in a row: there may have been thousands."""
    return min(2.0 ** min(count, 10), longest)
