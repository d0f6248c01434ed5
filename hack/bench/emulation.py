"""How much longer a machine of the lab takes for what an agent does all day: reading the kernel's files."""

import subprocess
import sys

from hack.lab.vm import Machine

_RUNS = 5
_WORK = """
import json, time
begun = time.process_time()
for number in range(3000):
    with open("/proc/self/stat", "rb") as file:
        words = file.read().decode().split()
    json.loads(json.dumps({word: number for word in words}))
print(time.process_time() - begun)
"""


def measure_slowdown(machine: Machine) -> float:
    """Times. Of several runs the quickest there and here: others were held up."""
    there = min(float(machine.succeed(["python3", "-I", "-S", "-c", _WORK])) for _ in range(_RUNS))
    return there / min(_run_here() for _ in range(_RUNS))


def _run_here() -> float:
    argv = [sys.executable, "-I", "-S", "-c", _WORK]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout)
