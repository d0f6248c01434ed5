"""What the command's exit status means, and what to do about each error."""

import json
from dataclasses import dataclass

import click

from replication.errors import (
    AlreadyExists,
    Conflict,
    DataLoss,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfRange,
    OutOfSpace,
    TrilithError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

MEANINGS = {
    0: "done",
    1: "failed for a reason that is none of the others",
    2: "usage: an option, argument or value that makes no sense",
    3: "not found: no such volume, node, pool or file",
    4: "already exists, and is something different",
    5: "not possible in the state that the thing is in",
    6: "no room, or a size that can never fit",
    7: "a node or the store does not answer",
    8: "conflict: another operation came first; try again",
    9: "data loss: what is stored is not what it must be",
    10: "not authenticated: a certificate of another cluster, or expired",
}
"""Exit status to meaning, as shown by --help and docs/cli.md."""

EPILOG = "\b\nExit status:\n" + "\n".join(f"{status:4}  {meaning}" for status, meaning in MEANINGS.items())


@dataclass(frozen=True, slots=True)
class Advice:
    """What a class of errors ends the command with. {group} is the command, such as `volume`."""

    status: int
    hint: str


ADVICE: dict[type, Advice] = {
    InvalidRequest: Advice(2, "`trilith {group} --help` says what is understood"),
    NotFound: Advice(3, "see what there is with `trilith {group} list` or `trilith status`"),
    AlreadyExists: Advice(4, "choose another name, or see what is there with `trilith status`"),
    Unsupported: Advice(5, "install what is missing on that machine, then repeat the command"),
    FailedPrecondition: Advice(5, "put right what the message names, then repeat the command"),
    OutOfSpace: Advice(6, "see the room there is with `trilith pool list`; add a disk or delete a volume"),
    OutOfRange: Advice(6, "ask for less; `trilith pool list` shows the largest volume that fits"),
    Unavailable: Advice(7, "see which nodes answer with `trilith status`, then repeat the command"),
    Conflict: Advice(8, "wait a moment, then repeat the command"),
    DataLoss: Advice(9, "change nothing; keep a copy of the state folder and see docs/operations.md"),
    Unauthenticated: Advice(10, "issue a certificate of this cluster with `trilith certificate issue`"),
    TrilithError: Advice(1, "`trilith events` and the node's log may say more"),
}


def choose_advice(error: TrilithError) -> Advice:
    """That of the nearest class that has some."""
    return next(ADVICE[cls] for cls in type(error).__mro__ if cls in ADVICE)


def report_error(error: TrilithError, group: str, *, as_json: bool) -> int:
    """Write one message to standard error, and return the exit status."""
    advice = choose_advice(error)
    hint = advice.hint.format(group=group)
    if as_json:
        kind = type(error).__name__
        report = {"error": kind, "message": str(error), "hint": hint, "status": advice.status}
        click.echo(json.dumps(report), err=True)
    else:
        click.echo(f"error: {error}\nhint: {hint}", err=True)
    return advice.status
