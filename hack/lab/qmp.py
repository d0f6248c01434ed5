"""The few words of QEMU's monitor protocol that the lab needs."""

import json
import socket
from pathlib import Path
from typing import Any

from hack.lab.errors import LabError, MachineGone


def execute(monitor: Path, command: str, arguments: object = None, *, timeout: float = 10) -> Any:  # noqa: ANN401
    """One command on a connection of its own; raises LabError with QEMU's words when it refuses."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(monitor))
        except OSError as error:
            raise MachineGone(f"{monitor.stem} is off: {error}") from error
        with connection.makefile("rwb") as stream:
            json.loads(stream.readline())  # the greeting
            _ask(stream, "qmp_capabilities", None)
            return _ask(stream, command, arguments)


def _ask(stream: Any, command: str, arguments: object) -> Any:  # noqa: ANN401
    request = {"execute": command} | ({} if arguments is None else {"arguments": arguments})
    stream.write(json.dumps(request).encode() + b"\n")
    stream.flush()
    for line in stream:
        reply = json.loads(line)
        if "error" in reply:
            raise LabError(f"{command}: {reply['error']['desc']}")
        if "return" in reply:
            return reply["return"]
    raise MachineGone(f"{command}: QEMU closed the connection")
