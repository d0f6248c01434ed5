"""Pods of dead nodes run elsewhere, with their volumes. The leader's work."""

import logging
import threading
from collections.abc import Mapping

from csi.failover.acting import Actor
from csi.failover.deciding import Mark, Plan, Policy, Sighting, Welcome, choose_steps
from csi.failover.lookout import PERIOD_SECONDS, Lookout
from csi.failover.scene import Scene
from replication.clock import Clock
from replication.control.control import Control
from replication.errors import TrilithError
from replication.kubernetes.client import Client

NODE_SECONDS = 0.01  # that each node adds to it: at most a hundred questions are put in a second
STAGES = 4  # of a node, without another round of questions: mark, fence, free, retire

log = logging.getLogger(__name__)


class FailOver:
    """`run` works until it is told to stop; whoever leads next goes on with what is marked."""

    def __init__(
        self,
        client: Client,
        control: Control,
        clock: Clock,
        policy: Policy,
        lookout: Lookout,
        *,
        stages: int = STAGES,
    ) -> None:
        self._control = control
        self._clock = clock
        self._policy = policy
        self._stages = stages
        self._lookout = lookout
        self._scene = Scene(client, control, clock)
        self._actor = Actor(client, control)
        self._marked = clock.now() - policy.pace_seconds
        self._held = ""
        self._waiting: set[str] = set()  # nodes of which that was told
        self._count = 0  # nodes that there were in the last round

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.step()
            stop.wait(max(PERIOD_SECONDS, self._count * NODE_SECONDS))
        self.close()

    def close(self) -> None:
        self._scene.close()

    def step(self) -> bool:
        """One round of questions, and what follows from it; whether anything did."""
        try:
            sightings = self._lookout.look()
            self._count = len(sightings)
            acted = False
            for _ in range(
                self._stages
            ):  # what is done now need not wait for the next round to be gone on from
                if not self._act(sightings):
                    break
                acted = True
        except TrilithError as error:
            log.warning("fail-over: not now: %s", error)
            return False
        return acted

    def _act(self, sightings: Mapping[str, Sighting]) -> bool:
        """Whether there was something to do, and all of it was done."""
        views, total = self._scene.view(sightings)
        since = self._clock.now() - self._marked
        plan = choose_steps(views, total, self._policy, since)
        if any(isinstance(step, Mark) for step in plan.steps):
            self._marked = self._clock.now()
        done = self._actor.do(plan.steps)
        for step in plan.steps:
            if isinstance(step, Welcome):
                self._actor.forget(step.node)
        self._tell_held(plan)
        return done and bool(plan.steps)

    def _tell_held(self, plan: Plan) -> None:
        """Once, when it begins; of each node once, as long as it lasts."""
        if plan.held and plan.held != self._held:
            log.warning("fail-over: nothing is begun: %s", plan.held)
        self._held = plan.held
        self._waiting &= set(plan.waiting)
        for node in set(plan.waiting) - self._waiting:
            self._actor.tell_waits(node, f"nothing is begun: {plan.held}")
            self._waiting.add(node)
