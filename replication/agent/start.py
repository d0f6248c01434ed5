"""The program `trilith-agent`, from its first moment: seconds of imports follow where processors are busy."""

from contextlib import suppress

from replication.agent.priority import ensure_priority
from replication.errors import KernelError


def main() -> None:
    with suppress(KernelError):  # somebody else than root may ask for help; whoever serves is told
        ensure_priority()
    from replication.agent.main import main as agent  # noqa: PLC0415 (not before)

    agent()
