"""Power, cables and disks: what breaks, and what somebody mends."""

from tests.simulation.kernel import CONTROL, Plant, catch_up, with_disk
from tests.simulation.refusing import mark


def power_off(plant: Plant, node: int) -> Plant:
    """Arrays and exports are gone; a volatile cache forgets. Not before a mark: nothing is promised then."""
    disk = mark(plant, node).disks[node]._replace(value=plant.disks[node].durable, exports=(), queued=None)
    arrays = tuple(a for a in plant.arrays if a.node != node)
    up = (*plant.site.up[:node], False, *plant.site.up[node + 1 :])
    plant = with_disk(plant, node, disk)._replace(arrays=arrays, seen=None)
    return plant._replace(site=plant.site._replace(up=up))


def power_on(plant: Plant, node: int) -> Plant:
    up = (*plant.site.up[:node], True, *plant.site.up[node + 1 :])
    boots = (*plant.site.boots[:node], plant.site.boots[node] + 1, *plant.site.boots[node + 1 :])
    return plant._replace(site=plant.site._replace(up=up, boots=boots))


def cut(plant: Plant, pair: tuple[int, int]) -> Plant:
    """Or mend."""
    if plant.ways.orderly and pair in plant.site.cuts and CONTROL not in pair:
        for node in pair:
            plant = catch_up(plant, node)
    return plant._replace(site=plant.site._replace(cuts=plant.site.cuts ^ {pair}))


def kill_disk(plant: Plant, replica: int) -> Plant:
    return plant._replace(site=plant.site._replace(dead=plant.site.dead | {replica}))
