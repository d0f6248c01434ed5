"""What a command works with: the cluster's control plane, opened when it is first needed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from replication.cli.output import Output
from replication.clock import Clock, SystemClock
from replication.errors import FailedPrecondition, NotFound, TrilithError
from replication.model import NodeFacts, Volume

if TYPE_CHECKING:
    from replication.control.control import Control


def _open_control(state: Path, store: str) -> "Control":
    from replication.control.control import open_control  # noqa: PLC0415 (gRPC, which --help does not need)
    from replication.control.store.opening import StoreKind  # noqa: PLC0415

    return open_control(state, kind=StoreKind(store))


@dataclass(frozen=True)
class World:
    """What is outside of the command; tests have their own."""

    open_control: "Callable[[Path, str], Control]" = _open_control
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class Asked:
    """A node, and what it says of itself, or why it says nothing."""

    name: str
    facts: NodeFacts | None
    problem: str = ""


class Session:
    """One run of the command."""

    def __init__(self, state: Path, store: str, output: Output, world: World) -> None:
        self.state = state
        self._store = store
        self.output = output
        self.clock = world.clock
        self._world = world

    @cached_property
    def control(self) -> "Control":
        try:
            return self._world.open_control(self.state, self._store)
        except NotFound as error:
            raise no_cluster(self.state, error) from None

    def close(self) -> None:
        """What was opened; nothing when nothing was."""
        if "control" in vars(self):
            self.control.store.close()

    @property
    def as_json(self) -> bool:
        return self.output is Output.JSON

    def get_volume(self, name_or_id: str) -> Volume:
        """A name goes before an id: names are what people give."""
        volume = self.control.volumes.find(name_or_id)
        if volume is not None:
            return volume
        try:
            return self.control.volumes.get(name_or_id)
        except NotFound:
            raise NotFound(f"no volume has the name or id {name_or_id!r}") from None

    def ask_nodes(self, names: tuple[str, ...] = ()) -> tuple[Asked, ...]:
        """All at once, so that several that do not answer cost no more time than one."""
        chosen = names or tuple(node.name for node in self.control.nodes.list())
        if not chosen:
            return ()
        with ThreadPoolExecutor(max_workers=len(chosen)) as pool:
            return tuple(pool.map(self._ask, chosen))

    def _ask(self, name: str) -> Asked:
        try:
            return Asked(name, self.control.nodes.facts(name))
        except NotFound:
            raise
        except TrilithError as error:
            return Asked(name, None, str(error))


def no_cluster(state: Path, reason: NotFound) -> FailedPrecondition:
    return FailedPrecondition(
        f"{state}: there is no cluster here ({reason}); make one with `trilith cluster init`, "
        "or name its folder with --state"
    )


pass_session = click.make_pass_decorator(Session)


def warn_of_silence(asked: tuple[Asked, ...]) -> None:
    """To standard error, so that what is printed stays what was asked for."""
    for node in asked:
        if node.facts is None:
            click.echo(f"warning: node {node.name}: {node.problem}", err=True)
