"""What an agent takes from its machine while nothing happens."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.bench.figures import Board, Figure, Goal
from hack.lab import qmp
from hack.lab.vm import Machine, Spawned

_SECONDS = 30.0
_KIB_PER_MIB = 1024
_USER_HZ = 100  # what Linux shows to programs on amd64, whatever it ticks with


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of processor time so far: the agent's and all of its machine's, and what the host gave it."""

    agent: float
    machine: float
    host: float


def measure_idle(board: Board, agents: Sequence[Spawned]) -> None:
    """The agent that takes most, or locks least, is what counts.

    With its child that flushes: its time; its pages that are not the agent's as well. What must not wait for
    memory is the agent alone.
    """
    shares = measure_shares(agents, _SECONDS)
    board.add(Figure("agent-idle-cpu", max(shares), "%", Goal("<=", 1.0), shares))
    resident = tuple(map(_read_mib, agents))
    board.add(Figure("agent-resident-memory", max(resident), "MiB", Goal("<=", 90), resident))
    locked = tuple(parse_locked_share(_read(agent, agent.pid, "smaps")) for agent in agents)
    board.add(Figure("agent-memory-locked-on-fault", min(locked), "%", Goal(">=", 99), locked))


def measure_shares(agents: Sequence[Spawned], seconds: float) -> tuple[float, ...]:
    """What each takes of a processor, in percent."""
    before, begun = [_read_used(agent) for agent in agents], time.monotonic()
    time.sleep(seconds)
    after, passed = [_read_used(agent) for agent in agents], time.monotonic() - begun
    return tuple(100 * choose_seconds(*pair) / passed for pair in zip(before, after, strict=True))


def choose_seconds(before: Used, after: Used) -> float:
    """The agent's seconds between the two, without those in which its machine was not running.

    A machine whose processor waits for the host's counts that as work of whoever ran in it.
    """
    given, counted = after.host - before.host, after.machine - before.machine
    return (after.agent - before.agent) * min(1.0, given / counted if counted else 1.0)


def _read_used(agent: Spawned) -> Used:
    stat = agent.machine.read_file("/proc/stat").decode()
    return Used(
        agent=sum(parse_ticks(_read(agent, pid, "stat")) for pid in _list_processes(agent)) / _USER_HZ,
        machine=parse_busy_ticks(stat) / _USER_HZ,
        host=_read_host_seconds(agent.machine),
    )


def _list_processes(agent: Spawned) -> tuple[int, ...]:
    """Its own, then its children's."""
    return (agent.pid, *map(int, _read(agent, agent.pid, f"task/{agent.pid}/children").split()))


def _read_mib(agent: Spawned) -> float:
    _, *children = _list_processes(agent)
    own = sum(parse_own_mib(_read(agent, child, "smaps_rollup")) for child in children)
    return parse_mib(_read(agent, agent.pid, "status"), "VmRSS") + own


def _read_host_seconds(machine: Machine) -> float:
    """Of the threads that are the machine's processors."""
    processors = qmp.execute(machine.hardware.monitor, "query-cpus-fast")
    threads = [Path(f"/proc/{machine.pid}/task/{each['thread-id']}/stat") for each in processors]
    return sum(parse_ticks(thread.read_text()) for thread in threads) / os.sysconf("SC_CLK_TCK")


def _read(agent: Spawned, pid: int, name: str) -> str:
    return agent.machine.read_file(f"/proc/{pid}/{name}").decode()


def parse_ticks(stat: str) -> int:
    """Processor time of a process and of the commands that it ran (proc(5)); its name may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def parse_busy_ticks(stat: str) -> int:
    """All but idle and iowait of all processors, from /proc/stat."""
    fields = [int(field) for field in stat.splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]


def parse_mib(status: str, name: str) -> float:
    """A line of /proc/PID/status or smaps_rollup in MiB."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError(f"no {name} in {status!r}")
    return int(found[1]) / _KIB_PER_MIB


def parse_own_mib(rollup: str) -> float:
    """What no other process has as well, from /proc/PID/smaps_rollup."""
    return parse_mib(rollup, "Private_Clean") + parse_mib(rollup, "Private_Dirty")


def parse_locked_share(smaps: str) -> float:
    """Of the resident memory in /proc/PID/smaps, the percentage that is locked as it is touched."""
    sizes = [int(size) for size in re.findall(r"^Rss:\s+(\d+) kB$", smaps, re.MULTILINE)]
    flags = [set(words.split()) for words in re.findall(r"^VmFlags:(.*)$", smaps, re.MULTILINE)]
    locked = sum(size for size, words in zip(sizes, flags, strict=True) if {"lo", "lf"} <= words)
    return 100 * locked / sum(sizes)
