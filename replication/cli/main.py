"""`trilith`: the administrator's command."""

import importlib
from pathlib import Path

import click

from replication.cli.exits import EPILOG, report_error
from replication.cli.output import Output
from replication.cli.session import Session, World
from replication.errors import TrilithError, Unavailable

COMMANDS = {
    "certificate": "Certificates of the cluster's machines.",
    "cluster": "Make a cluster.",
    "control": "Run the control plane.",
    "disk": "Disks of the nodes, and why some cannot be used.",
    "doctor": "Compare the records with what is on every node.",
    "events": "Show what was decided, and why: the newest last.",
    "node": "Add, list, drain and remove the cluster's machines.",
    "pool": "Pools of disks that volumes are made from.",
    "replica": "The copies that volumes consist of.",
    "settings": "How the cluster keeps itself healthy.",
    "status": "Show the cluster's health on one screen.",
    "volume": "Make, use, grow, watch and delete volumes.",
}
"""Each is the module of its name; the first line of its help stands here, so that --help loads none."""


class Root(click.Group):
    """Loads a command when it is called, and turns errors into a message and an exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (click's)
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"replication.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 (for the type checker)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's)
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TrilithError as error:
            ctx.exit(report_error(error, ctx.invoked_subcommand or "volume", as_json=_wants_json(ctx)))
        except BrokenPipeError:
            raise
        except OSError as error:
            wrapped = Unavailable(f"{error.filename or 'this machine'}: {error.strerror or error}")
            ctx.exit(report_error(wrapped, ctx.invoked_subcommand or "volume", as_json=_wants_json(ctx)))


@click.group(cls=Root, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--state",
    envvar="TRILITH_STATE",
    default="/var/lib/trilith",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the control plane's store and certificates (TRILITH_STATE).",
)
@click.option(
    "--store",
    envvar="TRILITH_STORE",
    type=click.Choice(["sqlite", "kubernetes"]),
    default="sqlite",
    show_default=True,
    help="Where records are: in the state folder, or in Kubernetes (TRILITH_STORE).",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice([form.value for form in Output]),
    default=Output.TABLE.value,
    show_default=True,
    help="Tables for people, JSON for programs; errors are JSON then, too.",
)
@click.pass_context
def main(ctx: click.Context, state: Path, store: str, output: str) -> None:
    """Administer a Trilith cluster: replicated volumes from the nodes' local disks.

    Volumes are given by name or by id. Sizes are written as in 512MiB, 1GiB, 10G.
    """
    world = ctx.obj if isinstance(ctx.obj, World) else World()
    ctx.obj = Session(state, store, Output(output), world)
    ctx.call_on_close(ctx.obj.close)


def _wants_json(ctx: click.Context) -> bool:
    return ctx.params.get("output") == Output.JSON


if __name__ == "__main__":
    main()
