"""docs/cli.md, from the commands themselves: `python -m replication.cli.reference > docs/cli.md`."""

import sys
from collections.abc import Iterator

import click

from replication.cli.exits import MEANINGS
from replication.cli.main import main

INTRODUCTION = """\
# The command `trilith`

Made by `python -m replication.cli.reference > docs/cli.md`; a test compares. `trilith COMMAND --help` says
the same.

Results go to standard output: tables, or JSON with `--output json`. What went wrong goes to standard error,
as `error: what, which, why` and `hint: what to do`; with `--output json` as one object with the keys `error`
(its kind), `message`, `hint` and `status`. What is watched or followed is one JSON object per line.
Volumes are given by name or by id. `--output` and `--state` come before the command.
"""


def render_reference() -> str:
    return "\n".join(_render())


def find_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name, in the order of --help."""
    context = click.Context(main, info_name="trilith")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            yield from (
                (f"trilith {name} {leaf}", command.commands[leaf]) for leaf in sorted(command.commands)
            )
        elif command is not None:
            yield f"trilith {name}", command


def _render() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Exit status\n\n| status | meaning |\n| --- | --- |"
    yield from (f"| {status} | {meaning} |" for status, meaning in MEANINGS.items())
    yield "\n## Options of every command\n"
    yield from _render_options(main)
    for name, command in find_commands():
        yield from _render_command(name, command)
    yield ""


def _render_command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [
        p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)
    ]
    yield f"\n## `{' '.join((name, *arguments))}`\n"
    yield "\n".join(line.strip() for line in (command.help or "").strip().splitlines())
    options = list(_render_options(command))
    if options:
        yield ""
        yield from options


def _render_options(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            yield f"* `{record[0]}` {record[1]}".rstrip()


if __name__ == "__main__":
    sys.stdout.write(render_reference())
