"""Where the enumeration begins: worlds that take a while to reach, each told as a story that is played."""

from tests.simulation.explore import play
from tests.simulation.kernel import Ways
from tests.simulation.plain import plain
from tests.simulation.world import World, new_world

_HEALTHY = ("attach to a", "write in epoch 1")
_DEGRADED = (*_HEALTHY, "cut b from a", "write in epoch 1", "report of epoch 1", "mend b from a")

_CRASHED = (*_HEALTHY, "cut b from a", "write in epoch 1", "a loses power", "mend b from a")
_ON_ITS_WAY = (*_HEALTHY, "cut b from a", "write in epoch 1", "a report of epoch 1 leaves")
_TO_BE_HEARD = (*_ON_ITS_WAY, "the report arrives", "the swap")
_OUTLIVED = (
    *_TO_BE_HEARD,
    "confirmation 0 arrives",
    "mend b from a",
    "rebuild",
    "recovery of r1 ends in epoch 1",
    "report of epoch 1",
)
_KNOWN = (*_HEALTHY, "cut b from a", "a report of epoch 1 leaves", "the report arrives", "the swap")
_REFUSED = (*_HEALTHY, "b's disk refuses a write in epoch 1, nobody waits")
_BEING_FENCED = ("cut a from control", "begin to detach", "go on: stop", "go on: force")
_LOOKED = "a loss was confirmed, its agent has looked, and is about to let go what waits"

STORIES: dict[str, tuple[str, ...]] = {
    "a new volume": (),
    "in use": _HEALTHY,
    "one replica is stale": _DEGRADED,
    "one replica is being rebuilt": (*_DEGRADED, "rebuild", "write in epoch 1"),
    "one replica is stale, and the volume has moved": (
        *_DEGRADED,
        "detach",
        "attach to c",
        "write in epoch 2",
    ),
    "the consumer has lost power with a write on its way": _CRASHED,
    "a resync is owed, not from the consumer's own replica": (*_CRASHED, "detach", "attach to c", "a boots"),
    "the consumer is cut off, fenced, and goes on": (
        *_HEALTHY,
        "write in epoch 1",
        "cut a from control",
        "detach",
        "attach to c",
    ),
    "a report of a loss is on its way": _ON_ITS_WAY,
    "a confirmation of a loss is on its way": _TO_BE_HEARD,
    "a replica has lost power, the bitmap being clear": (
        *_HEALTHY,
        "bits are cleared in epoch 1",
        "b loses power",
        "report of epoch 1",
    ),
    "a confirmation of a loss is on its way, and another disk has refused a write": (
        *_KNOWN,
        "c's disk refuses a write in epoch 1",
    ),
    _LOOKED: (
        *_KNOWN,
        "confirmation 0 is obeyed, and nothing is let go yet",
    ),
    "a confirmation has outlived what it confirmed": _OUTLIVED,
    "a recovery was reported, lost again, and begun once more": (
        *_DEGRADED,
        "rebuild",
        "recovery of r1 ends in epoch 1",
        "a report of epoch 1 leaves",
        "cut b from a",
        "write in epoch 1",
        "report of epoch 1",
        "mend b from a",
        "rebuild",
    ),
    "a disk has refused a write that was acknowledged": _REFUSED,
    "a disk has refused a write that was acknowledged, and the consumer has told nobody": (
        *_REFUSED,
        "a loses power",
        "detach",
    ),
    "two are in sync, and the disk of one has refused a write that was acknowledged": (
        *_DEGRADED,
        "c's disk refuses a write in epoch 1, nobody waits",
    ),
    "a disk has refused a write that was acknowledged, and the consumer is being fenced": (
        *_REFUSED,
        *_BEING_FENCED,
    ),
    "nobody hears the consumer, and a replica is stale": (*_DEGRADED, "cut a from control", "detach"),
}


def starts(replicas: int, faults: int, delays: int, ways: Ways) -> list[tuple[str, World]]:
    """The worlds of all stories. What breaks in a story is not counted.

    What can fail between a look and a release has others that have the write with five replicas; with three
    that is a move away, where a call may be slow.
    """
    names = (name for name in STORIES if name != _LOOKED or replicas > 3)
    return [(name, start(name, replicas, faults, delays, ways)) for name in names]


def start(name: str, replicas: int, faults: int, delays: int, ways: Ways) -> World:
    """The world of one story."""
    world = play(new_world(replicas, faults=9, delays=9, ways=ways), STORIES[name])
    return plain(world._replace(faults=faults, delays=delays))
