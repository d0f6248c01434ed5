"""What a failed lab test is understood by: consoles, what ran in the machines, what ran beside them."""

import contextlib
from collections.abc import Iterator

from hack.lab.cluster import Cluster
from hack.lab.errors import LabError
from hack.lab.vm import Machine, Spawned

_CONSOLE_LINES = 30
_LOG_LINES = 200
_BLOCKED = """
for status in $(grep -ls "^State:.D" /proc/[0-9]*/task/[0-9]*/status); do
    task=${status%/status}
    echo "$task $(cat $task/comm)"
    cat $task/stack
done
"""

Section = tuple[str, str]
"""Title and text."""


def collect(cluster: Cluster) -> Iterator[Section]:
    """The ends of all of them. What a machine that lost power had not told is lost with it."""
    for machine in cluster.machines:
        yield f"console of {machine}", machine.console_tail(_CONSOLE_LINES)
        _ask_for_stacks(machine)
        yield from _collect_background(machine)
        yield f"{machine.name}: tasks that wait in the kernel", _list_blocked(machine)
    for log in sorted(cluster.logs.glob("*.log")):
        yield log.name, _tail(log.read_text(errors="replace"))


def _collect_background(machine: Machine) -> Iterator[Section]:
    """Agents first of all, an earlier one's included."""
    for spawned in tuple(machine.background):
        said = _read(spawned)
        if said:
            yield f"{machine.name}: {spawned.shown}", said


def _ask_for_stacks(machine: Machine) -> None:
    """An agent tells on its standard error what each of its threads is doing."""
    for agent in (each for each in machine.background if "trilith-agent" in each.shown):
        with contextlib.suppress(LabError):
            if agent.status is None:
                machine.run(["sh", "-c", f"kill -USR1 {agent.pid}; sleep 1"])


def _list_blocked(machine: Machine) -> str:
    try:
        return machine.run(_BLOCKED).stdout
    except LabError as error:
        return str(error)


def _read(spawned: Spawned) -> str:
    try:
        status, said = spawned.status, _tail(spawned.output)
    except LabError as error:
        return str(error)
    return said if status is None else f"{said}\n(ended with status {status})"


def _tail(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_LINES:])
