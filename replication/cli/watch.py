"""A rebuild, watched: a progress bar in a terminal, a line per change elsewhere, JSON lines for programs."""

from collections.abc import Iterator

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from replication.cli.output import make_console, print_json_line
from replication.cli.replica import format_since
from replication.cli.session import Session
from replication.cli.sizes import format_seconds, format_size
from replication.control.redundancy import Health, VolumeHealth, count_in_sync, is_redundant, judge_volume
from replication.errors import TimedOut
from replication.model import Volume

INTERVAL = 1.0


def watch_volume(session: Session, volume: Volume, timeout: float) -> None:
    """Until `volume` is redundant, or TimedOut after `timeout` seconds, if any."""
    if session.as_json:
        for health in follow(session, volume.id, timeout):
            print_json_line(to_plain(health))
    elif make_console().is_terminal:
        _show_bar(session, volume, timeout)
    else:
        _print_lines(session, volume, timeout)


def follow(session: Session, volume_id: str, timeout: float) -> Iterator[VolumeHealth]:
    """What the volume is like, every second, the last time when it is redundant."""
    deadline = session.clock.now() + timeout
    while True:
        health = look(session, volume_id)
        yield health
        if is_redundant(health.volume):
            return
        if timeout and session.clock.now() >= deadline:
            raise TimedOut(f"volume {health.volume.name}: still {describe(health)} after {timeout:g} s")
        session.clock.sleep(INTERVAL)


def look(session: Session, volume_id: str) -> VolumeHealth:
    volume = session.control.volumes.get(volume_id)
    asked = session.ask_nodes((volume.consumer,)) if volume.consumer else ()
    return judge_volume(volume, [report for a in asked if a.facts for report in a.facts.arrays])


def describe(health: VolumeHealth) -> str:
    """`rebuilding r2 on m3: 42.0 %, 81 MiB of 192 MiB, 50 MiB/s, 3 s left`."""
    copies = f"{count_in_sync(health.volume)} of {health.volume.replica_count} replicas in sync"
    words = [f"{health.health}, {copies}"]
    if health.health is Health.WAITING:
        words.append(f"writes have been waiting for {format_seconds(health.held_seconds)}")
    if health.waits_for:
        words.append(health.waits_for)
    if health.health is Health.LOST:
        gone = ", ".join(f"{r.id} on {r.node}" for r in health.volume.replicas if r.state == "in_sync")
        words.append(f"gone with all that was in sync since {format_since(health.volume.lost_since)}: {gone}")
    rebuild = describe_rebuild(health)
    return ": ".join([", ".join(words), rebuild]) if rebuild else ", ".join(words)


def describe_rebuild(health: VolumeHealth) -> str:
    rebuild = health.rebuild
    if rebuild is None:
        return ""
    done, total = format_size(rebuild.done_bytes), format_size(rebuild.total_bytes)
    left = rebuild.seconds_left
    time = "time left unknown" if left is None else f"{format_seconds(left)} left"
    rate = f"{format_size(rebuild.bytes_per_second)}/s"
    return f"{rebuild.percent:.1f} %, {done} of {total}, {rate}, {time}"


def to_plain(health: VolumeHealth) -> dict[str, object]:
    rebuild = health.rebuild
    return {
        "name": health.volume.name,
        "id": health.volume.id,
        "health": health.health,
        "replica_count": health.volume.replica_count,
        "in_sync": count_in_sync(health.volume),
        "held_seconds": health.held_seconds,
        "waits_for": health.waits_for,
        "lost_since": health.volume.lost_since,
        "missing": health.missing,
        "rebuild": rebuild
        and {
            "replicas": rebuild.replicas,
            "total_bytes": rebuild.total_bytes,
            "done_bytes": rebuild.done_bytes,
            "bytes_per_second": rebuild.bytes_per_second,
            "percent": round(rebuild.percent, 1),
            "seconds_left": rebuild.seconds_left,
        },
    }


def _print_lines(session: Session, volume: Volume, timeout: float) -> None:
    said = ""
    for health in follow(session, volume.id, timeout):
        line = f"volume {volume.name}: {describe(health)}"
        if line != said:
            click.echo(line)
        said = line


def _show_bar(session: Session, volume: Volume, timeout: float) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"))
    with Progress(*columns, console=make_console()) as progress:
        task = progress.add_task(f"volume {volume.name}", total=100.0, words="")
        for health in follow(session, volume.id, timeout):
            _advance(progress, task, health)


def _advance(progress: Progress, task: TaskID, health: VolumeHealth) -> None:
    """A volume that is whole is at 100 %, even if there was nothing to copy."""
    whole = is_redundant(health.volume)
    percent = 100.0 if whole else health.rebuild.percent if health.rebuild else 0.0
    progress.update(task, completed=percent, words=describe_rebuild(health) or describe(health))
