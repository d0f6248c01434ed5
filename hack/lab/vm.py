"""One machine of the lab: running commands in it, and doing to it what happens to machines."""

import base64
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.lab import qemu
from hack.lab.channel import Channel
from hack.lab.errors import CommandFailed, CommandTimedOut, LabError, MachineGone
from hack.lab.faults import Faults
from hack.lab.qemu import Hardware

Command = str | Sequence[str]
"""Words of a command line, or a line for bash."""

_GRACE = 15.0


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended; a negative status is the signal that ended it."""

    status: int
    stdout: str
    stderr: str


class Machine(Faults):
    """A machine. Its disks outlive `crash`; everything else in it does not."""

    def __init__(self, hardware: Hardware, address: str) -> None:
        self.name = hardware.name
        self.address = address
        self.hardware = hardware
        self._qemu: subprocess.Popen[bytes] | None = None
        self._disks: list[subprocess.Popen[bytes]] = []
        self._channel: Channel | None = None
        self._spawned = 0
        self.background: list[Spawned] = []  # since it was powered on
        self.boot_seconds = 0.0

    def __repr__(self) -> str:
        return f"<{self.name} {self.address} {'up' if self.running else 'off'}>"

    @property
    def running(self) -> bool:
        return self._qemu is not None and self._qemu.poll() is None

    @property
    def pid(self) -> int | None:
        """Of the QEMU process."""
        return self._qemu.pid if self._qemu and self.running else None

    def power_on(self) -> None:
        """Start booting and return at once; `wait_ready` comes next."""
        if self.running:
            raise LabError(f"{self.name} already runs")
        self._power_off()
        self._started = time.monotonic()
        log = self.hardware.console.with_suffix(".qemu")
        self._disks = qemu.start_disks(self.hardware, log)
        self._qemu = qemu.start(self.hardware, log)
        self._channel = Channel(self.hardware.control, self.name)

    def wait_ready(self, timeout: float = 120) -> None:
        """Return once commands can be run; raises with the console's end when that does not come."""
        try:
            self._get_channel().wait_hello(timeout)
        except LabError as error:
            self._power_off()
            raise MachineGone(f"{self.name} did not boot: {error}\n{self.console_tail()}") from error
        self.boot_seconds = time.monotonic() - self._started

    def start(self, timeout: float = 120) -> None:
        """Boot, with the disks as they are, and wait until commands can be run."""
        self.power_on()
        self.wait_ready(timeout)

    def crash(self) -> None:
        """The power fails: nothing is flushed, nobody is told.

        What was written to the disks stays; of volatile ones, what they had been told to make durable.
        """
        self._power_off()

    def _power_off(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
        for disk in self._disks:  # after QEMU, which else would see disks that err
            disk.kill()
            disk.wait()
        if self._channel is not None:
            self._channel.close()
        self._qemu = self._channel = None
        self._disks = []
        self.background = []
        self.hardware.control.unlink(missing_ok=True)
        self.hardware.monitor.unlink(missing_ok=True)

    def run(self, command: Command, timeout: float = 60) -> Completed:
        """Run to the end, whatever it is. Killed with all its children after `timeout` seconds."""
        reply = self._get_channel().ask("run", timeout + _GRACE, argv=_argv(command), timeout=timeout)
        stdout, stderr = _text(reply["stdout"]), _text(reply["stderr"])
        if reply.get("timed_out"):
            what = f"{self.name}: {_shown(command)}: still running after {timeout:g} s"
            raise CommandTimedOut(f"{what}\n{stdout}{stderr}")
        return Completed(int(reply["status"]), stdout, stderr)

    def execute(self, command: Command, timeout: float = 60) -> tuple[int, str]:
        """Status, and standard output followed by standard error."""
        done = self.run(command, timeout)
        return done.status, done.stdout + done.stderr

    def succeed(self, command: Command, timeout: float = 60) -> str:
        """Standard output of a command that has to end with 0."""
        done = self.run(command, timeout)
        if done.status:
            said = done.stdout + done.stderr
            raise CommandFailed(f"{self.name}: {_shown(command)}: status {done.status}\n{said}")
        return done.stdout

    def fail(self, command: Command, timeout: float = 60) -> str:
        """Output and errors of a command that must not end with 0."""
        status, said = self.execute(command, timeout)
        if status == 0:
            raise CommandFailed(f"{self.name}: {_shown(command)}: succeeded, and must not\n{said}")
        return said

    def wait_until_succeeds(self, command: Command, timeout: float = 60, interval: float = 0.2) -> str:
        """Repeat until the command ends with 0; returns its standard output."""
        deadline = time.monotonic() + timeout
        while True:
            done = self.run(command, timeout)
            if done.status == 0:
                return done.stdout
            if time.monotonic() > deadline:
                said = done.stdout + done.stderr
                raise CommandTimedOut(f"{self.name}: {_shown(command)}: not within {timeout:g} s\n{said}")
            time.sleep(interval)

    def spawn(self, command: Command, environment: Mapping[str, str] | None = None) -> "Spawned":
        """Start in the background; output and errors go to one file in the guest."""
        self._spawned += 1
        output = f"/run/lab/{self._spawned}.output"
        more = dict(environment or {})
        reply = self._get_channel().ask("spawn", 60, argv=_argv(command), output=output, environment=more)
        self.background.append(Spawned(self, int(reply["pid"]), output, _shown(command)))
        return self.background[-1]

    def read_file(self, path: str) -> bytes:
        return base64.b64decode(self._get_channel().ask("read", 60, path=path)["data"])

    def write_file(self, path: str, data: bytes | str) -> None:
        """The file has these bytes; folders on the way are made."""
        content = data.encode() if isinstance(data, str) else data
        self._get_channel().ask("write", 60, path=path, data=base64.b64encode(content).decode())

    def console(self) -> str:
        """Everything the kernel said on the console, all boots of this run together."""
        path = self.hardware.console
        return path.read_text(errors="replace") if path.exists() else ""

    def console_tail(self, lines: int = 30) -> str:
        log = Path(self.hardware.console.with_suffix(".qemu"))
        own = log.read_text(errors="replace") if log.exists() else ""
        return "\n".join([*self.console().splitlines()[-lines:], *own.splitlines()[-lines:]])

    def _get_channel(self) -> Channel:
        if self._channel is None:
            raise MachineGone(f"{self.name} is off")
        return self._channel


@dataclass(frozen=True, slots=True)
class Spawned:
    """A background process in a guest; its pid is also its process group."""

    machine: Machine
    pid: int
    path: str
    shown: str  # its command line

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.machine.read_file(self.path).decode(errors="replace")

    @property
    def status(self) -> int | None:
        """None while it runs."""
        answer = self.machine._get_channel().ask("poll", 60, pid=self.pid)["status"]  # noqa: SLF001 - one thing
        return None if answer is None else int(answer)

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.status) is None:
            if time.monotonic() > deadline:
                raise CommandTimedOut(
                    f"{self.machine.name}: process {self.pid} still runs after {timeout:g} s"
                )
            time.sleep(0.1)
        return status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the whole process group."""
        self.machine._get_channel().ask("kill", 60, pid=self.pid, signal=int(number))  # noqa: SLF001 - one thing


def _argv(command: Command) -> list[str]:
    return ["/bin/bash", "-c", command] if isinstance(command, str) else list(command)


def _shown(command: Command) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _text(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")
