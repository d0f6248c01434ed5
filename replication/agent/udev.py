"""Keeps udev off the block devices that are ours: what lies on a volume is its user's, not this machine's.

Stock rules read every device for signatures and act on what they find: mdadm assembles arrays, LVM activates
volume groups, multipath looks for further paths. An array or a volume group that a user keeps inside a volume
would be started on its node, and one whose signature is at the end of the device out of a replica, past our
array. Whatever is started so holds its device, which cannot go then.

Sources: 60-multipath.rules, 60-persistent-storage*.rules, 64-md-raid-assembly.rules and 69-lvm.rules of
Debian 12; udev(7) for `:=`, which no later rule changes; `manager_reload` in systemd's src/udev/udevd.c for
how often udev looks for new rules, and that an event that was begun is ended by the old ones; libudev's
`udev_queue_get_queue_is_empty` for how to see that there is none.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from replication.agent.names import NQN_PREFIX
from replication.clock import Clock, wait_until
from replication.errors import TimedOut
from replication.files import write_whole

FOLDER = Path("/run/udev")
"""There where udev runs. Rules in it are gone with a boot."""
UNREAD_SECONDS = 3.5
"""After this every event is begun by new rules: udev looks for them at an event, each 3 s at most."""
BUSY_SECONDS = 30.0
"""So long, at most, for events that were begun by old ones: on a busy machine udev is never without any."""

_NAME = "rules.d/57-trilith.rules"  # after 55-dm and 56-lvm, before all that look into a device
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patterns:
    """What is ours, as udev matches names."""

    arrays: str = "md_v*"
    mapped: str = "trilith[-_]*"  # replicas and hold layers, by their device-mapper names
    subsystems: str = f"{NQN_PREFIX}*"


def format_rules(ours: Patterns) -> str:
    return f"""\
# Written by trilith-agent whenever it starts: nobody looks into these devices, watches them, or uses them.
SUBSYSTEM!="block", GOTO="trilith_end"
KERNEL=="{ours.arrays}", GOTO="trilith_ours"
KERNEL=="dm-*", ATTR{{dm/name}}=="{ours.mapped}", GOTO="trilith_ours"
KERNEL=="nvme*", ATTRS{{subsysnqn}}=="{ours.subsystems}", GOTO="trilith_ours"
GOTO="trilith_end"
LABEL="trilith_ours"
OPTIONS:="nowatch"
ENV{{SYSTEMD_READY}}="0"
ENV{{UDEV_DISABLE_PERSISTENT_STORAGE_RULES_FLAG}}="1"
ENV{{DM_UDEV_DISABLE_DISK_RULES_FLAG}}="1"
ENV{{DM_UDEV_DISABLE_OTHER_RULES_FLAG}}="1"
ENV{{UDISKS_IGNORE}}="1"
ENV{{nompath}}="1"
LABEL="trilith_end"
"""


def quieten_udev(clock: Clock, folder: Path = FOLDER, ours: Patterns | None = None) -> None:
    """Returns when all that udev does is by our rules: at once when it is already, or where there is no udev.

    A failure is told and costs nothing else.
    """
    if not (folder / "control").exists():
        return
    path, rules = folder / _NAME, format_rules(ours or Patterns()).encode()
    try:
        if not path.exists() or path.read_bytes() != rules:
            path.parent.mkdir(exist_ok=True)
            write_whole(path, rules)
        age = clock.wall() - path.stat().st_mtime  # perhaps of an agent that was killed while it waited
    except OSError as error:
        _log.warning("udev may use what lies on volumes: %s cannot be written: %s", path, error.strerror)
    else:
        if age < UNREAD_SECONDS + BUSY_SECONDS:
            _wait_for_events(clock, folder, UNREAD_SECONDS - max(age, 0.0))


def _wait_for_events(clock: Clock, folder: Path, unread_seconds: float) -> None:
    """For those that are begun while our rules are still to be read, and until none of those is left."""
    clock.sleep(max(unread_seconds, 0.0))
    try:
        wait_until(
            lambda: not (folder / "queue").exists(),
            "the end of udev's events of before our rules",
            timeout=BUSY_SECONDS,
            clock=clock,
        )
    except TimedOut as error:
        _log.warning("udev may use what lies on volumes: %s", error)
