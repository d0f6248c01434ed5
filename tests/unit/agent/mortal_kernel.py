"""A fake kernel whose agent is killed after so many changes of it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from replication.kernel.dm_wire import Answer, Command, Flag, parse_answer
from tests.fakes.mortal import Died
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_md import FakeMd

CHANGES = (Command.CREATE, Command.LOAD, Command.SUSPEND, Command.REMOVE, Command.MESSAGE)


class Life:
    """So many changes of the kernel more, then nothing at all."""

    def __init__(self) -> None:
        self.left = 10**9
        self.dead = False

    def spend(self, cost: int) -> None:
        self.dead = self.dead or (cost > 0 and not self.left)
        if self.dead:
            raise Died
        self.left -= cost

    def cut_short(self, act: Callable[[], object], steps: int) -> None:
        """Killed at the change after `steps` of them, unless it is done by then. The next agent lives."""
        self.left = steps
        with suppress(Died):
            act()
        self.left, self.dead = 10**9, False


class MortalMd(FakeMd):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.life = Life()

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        self.life.spend(1)
        super().write(name, value, secret=secret)


class MortalControl(FakeControl):
    """Dead together with the tree."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def ioctl(self, request: int, buffer: bytearray) -> None:
        alive = not self._life.dead
        try:
            self._life.spend(int(request & 0xFF in {command.value for command in CHANGES}))
        except Died:
            if alive and request & 0xFF == Command.SUSPEND.value:
                self._cut_short(parse_answer(buffer))
            raise
        super().ioctl(request, buffer)

    def _cut_short(self, asked: Answer) -> None:
        """It was waiting for what is under way."""
        if Flag.SUSPEND in asked.flags:
            self.presuspend(asked.name)
