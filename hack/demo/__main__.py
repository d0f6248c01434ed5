"""`make demo`: the story on screen, with a time for each step, a table of all of them, and a verdict."""

import sys
import time

from rich.console import Console
from rich.table import Table

from hack.demo.story import DeviationError, Told, play
from hack.lab.cluster import Cluster
from hack.lab.network import enter_private_network


def main() -> None:
    """Exit status 0 when everything went as promised; 1, saying which step did not, otherwise."""
    enter_private_network()
    console, told = Console(highlight=False), []

    def tell(news: Told) -> None:
        told.append(news)
        console.print(f"[green]✓[/] {news.step} [dim]({news.seconds:.1f} s)[/]\n    {news.notable}")

    begun = time.monotonic()
    console.print("Three machines with stock Debian kernels are starting under QEMU …")
    try:
        with Cluster(nodes=3) as cluster:
            tell(Told("three machines run", time.monotonic() - begun, f"their consoles: {cluster.logs}"))
            verdict = play(cluster, tell)
    except DeviationError as deviation:
        console.print(f"[red]✗[/] {deviation}")
        sys.exit(1)
    console.print(_table(told, time.monotonic() - begun))
    console.print(f"{len(verdict.lost)} acknowledged writes lost ({verdict.checked} checked)")


def _table(told: list[Told], total: float) -> Table:
    table = Table("step", "seconds", "", show_footer=True)
    table.columns[0].footer, table.columns[1].footer = "in all", f"{total:.1f}"
    table.columns[1].justify = "right"
    for news in told:
        table.add_row(news.step, f"{news.seconds:.1f}", news.notable)
    return table


if __name__ == "__main__":
    main()
