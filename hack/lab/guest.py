"""The command server inside a machine: JSON lines over a virtio-serial port, so it works without a network.

Started by init.sh as process 1 with `python -I -S`: standard library only, and little of it, to be quick.
Requests carry an id and run side by side; an answer carries the id of its request. Bytes travel as base64.
"""

import base64
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

PORT_NAME = "trilith"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DM_DISABLE_UDEV": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Server:
    """Reads requests from the port until the machine dies."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writing = threading.Lock()
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        self._send({"id": 0, "uptime": time.clock_gettime(time.CLOCK_BOOTTIME)})
        pending = b""
        while True:
            chunk = os.read(self._port, 1 << 16)
            if not chunk:
                time.sleep(0.05)
                continue
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: dict[str, Any]) -> None:
        try:
            reply = getattr(self, f"do_{request['do']}")(request)
        except Exception as error:  # noqa: BLE001 - the outermost frame: whatever it is, the host has to hear it
            reply = {"error": f"{type(error).__name__}: {error}"}
        self._send({"id": request["id"], **reply})

    def _send(self, reply: dict[str, Any]) -> None:
        data = json.dumps(reply).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(self._port, data) :]

    def do_run(self, request: dict[str, Any]) -> dict[str, Any]:
        process = subprocess.Popen(
            request["argv"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=request["timeout"])
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"timed_out": True, **_collect_what_there_is(process)}
        return {"status": process.returncode, "stdout": _encode(out), "stderr": _encode(err)}

    def do_spawn(self, request: dict[str, Any]) -> dict[str, Any]:
        with Path(request["output"]).open("wb") as output:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, **request["environment"]},
                start_new_session=True,
            )
        self._spawned[process.pid] = process
        return {"pid": process.pid}

    def do_poll(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"status": self._spawned[request["pid"]].poll()}

    def do_kill(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._spawned[request["pid"]].poll() is None:
            os.killpg(request["pid"], request["signal"])
        return {}

    def do_read(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"data": _encode(Path(request["path"]).read_bytes())}

    def do_write(self, request: dict[str, Any]) -> dict[str, Any]:
        path = Path(request["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(request["data"]))
        return {}


def _collect_what_there_is(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """What a killed command said; one that cannot die (it waits for a disk) must not hold up the answer."""
    try:
        out, err = process.communicate(timeout=1)
    except subprocess.TimeoutExpired as still:
        out, err = still.stdout or b"", still.stderr or b""
    return {"stdout": _encode(out), "stderr": _encode(err)}


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _find_port() -> Path:
    for name in Path("/sys/class/virtio-ports").glob("*/name"):
        if name.read_text().strip() == PORT_NAME:
            return Path("/dev") / name.parent.name
    raise FileNotFoundError(f"no virtio port named {PORT_NAME}")


def _reap() -> None:
    """What process 1 is for: collect every orphan, for ever."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


def main() -> None:
    if os.fork():
        _reap()
    os.setsid()
    Server(os.open(_find_port(), os.O_RDWR)).serve()


if __name__ == "__main__":
    main()
