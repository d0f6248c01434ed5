"""An agent that is killed in the midst of what it does, on a machine.

    python -m tests.lab.dying_agent WHERE WORD...

WHERE is a function of the product, "module:name": instead of calling it for the first time the agent dies, by
SIGKILL. The words are those of trilith-agent.
"""

import os
import signal
import sys
from importlib import import_module

from replication.agent.start import main as run_agent


def main() -> None:
    where, *sys.argv[1:] = sys.argv[1:]
    module, _, name = where.partition(":")
    owner = import_module(module)
    if name not in vars(owner):
        raise AttributeError(f"{where}: the product has no such thing any more")
    setattr(owner, name, die)
    run_agent()


def die(*_: object) -> None:
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
