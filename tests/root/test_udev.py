"""Beside udev with stock rules, mdadm's, LVM's and multipath's among them, as nodes have it."""

import subprocess  # noqa: TID251 (these are daemons)
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from replication.agent.udev import FOLDER, Patterns, quieten_udev
from replication.clock import SystemClock
from replication.errors import CommandFailed
from replication.kernel import md
from replication.kernel.run import run
from tests.root.stand import PREFIX, Stand, wait

pytestmark = pytest.mark.root

RULES = FOLDER / "rules.d/57-trilith.rules"
OURS = Patterns(arrays="md_t*", mapped="t[0-9]*", subsystems=f"{PREFIX}*")
THEIRS, USERS = "/dev/md99", "users"


@pytest.fixture
def udev() -> Iterator[None]:
    """As a node has it. Nothing of it is left running."""
    FOLDER.mkdir(exist_ok=True)
    with (
        subprocess.Popen(["/lib/systemd/systemd-udevd"], stderr=subprocess.DEVNULL) as rules,
        subprocess.Popen(["/sbin/multipathd", "-d", "-v0"], stderr=subprocess.DEVNULL) as paths,
    ):
        wait((FOLDER / "control").exists, "udev")
        yield
        for daemon in (paths, rules):
            daemon.terminate()
    RULES.unlink(missing_ok=True)


@pytest.fixture
def used(stand: Stand) -> Iterator[Stand]:
    """A running array whose writes go on, as with an agent."""
    stand.start()
    ended = threading.Event()

    def answer() -> None:
        while not ended.wait(0.05):
            if stand.state().write_pending:
                md.acknowledge_writes(stand.tree, stand.name)

    agent = threading.Thread(target=answer, daemon=True)
    agent.start()
    yield stand
    ended.set()
    agent.join()


def look_at_everything() -> None:
    """As at boot, when everything is there already."""
    run(("udevadm", "trigger", "--action=add", "--subsystem-match=block"), timeout=60)
    run(("udevadm", "settle", "--timeout=60"), timeout=70)


def list_arrays() -> set[str]:
    return {each.name for each in Path("/sys/block").glob("md*")}


def list_mapped() -> set[str]:
    return read_mapped("name")


def read_mapped(attribute: str) -> set[str]:
    return {(each / "dm" / attribute).read_text().strip() for each in Path("/sys/block").glob("dm-*")}


def list_multipath_maps() -> set[str]:
    """Those of multipathd: our hold layers are of the same target, and have another prefix."""
    return {uuid for uuid in read_mapped("uuid") if uuid.startswith("mpath-")}


def put_array_into(device: str) -> None:
    """Its signature is at the end of the device, which is the end of every replica, too."""
    words = ("--run", "--force", "--metadata=1.0", "--level=1", "--raid-devices=1")
    run(("mdadm", "--create", THEIRS, *words, device), timeout=60)
    run(("mdadm", "--stop", THEIRS), timeout=60)


def stop_arrays(names: set[str]) -> None:
    for name in names:
        run(("mdadm", "--stop", f"/dev/{name}"), timeout=60)


@pytest.mark.usefixtures("udev")
@pytest.mark.parametrize("quiet", [True, False])
def test_an_array_inside_a_volume_is_its_users(used: Stand, quiet: bool) -> None:
    if quiet:
        quieten_udev(SystemClock(), ours=OURS)
    before = list_arrays()
    put_array_into(used.device)
    look_at_everything()
    grabbed = list_arrays() - before
    stop_arrays(grabbed)
    assert bool(grabbed) is not quiet, "without our rules it is assembled on the node"


@pytest.fixture
def slow_rules() -> Iterator[None]:
    """Udev is at its first event of an array for ten seconds before it looks into it."""
    rules, begun = FOLDER / "rules.d/50-slow.rules", FOLDER / "slow-begun"
    rules.parent.mkdir(parents=True, exist_ok=True)
    once = f"test -e {begun} || {{ touch {begun}; sleep 10; }}"
    rules.write_text(f"""KERNEL=="{OURS.arrays}", ACTION!="remove", PROGRAM="/bin/sh -c '{once}'"\n""")
    yield
    rules.unlink()
    begun.unlink(missing_ok=True)


@pytest.mark.usefixtures("slow_rules", "udev")
def test_who_began_to_look_before_our_rules_is_waited_for(used: Stand) -> None:
    before = list_arrays()
    wait((FOLDER / "slow-begun").exists, "the first look")
    quieten_udev(SystemClock(), ours=OURS)
    put_array_into(used.device)
    look_at_everything()
    grabbed = list_arrays() - before
    stop_arrays(grabbed)
    assert grabbed == set()


@pytest.mark.usefixtures("udev")
@pytest.mark.parametrize("quiet", [True, False])
def test_a_volume_group_inside_a_volume_is_its_users(used: Stand, quiet: bool) -> None:
    if quiet:
        quieten_udev(SystemClock(), ours=OURS)
    before = list_mapped()
    there = f'devices{{global_filter=["a|^{used.device}$|","r|.*|"]}}'
    run(("lvm", "vgcreate", "--config", there, USERS, used.device), timeout=60)
    run(("lvm", "lvcreate", "--config", there, "-an", "-Zn", "-n", "data", "-L", "8M", USERS), timeout=60)
    look_at_everything()
    grabbed = list_mapped() - before
    with suppress(CommandFailed):
        run(("lvm", "vgchange", "--config", there, "-an", USERS), timeout=60)
    assert bool(grabbed) is not quiet, "without our rules it is activated on the node"


@pytest.mark.usefixtures("udev")
def test_a_life_beside_udev_is_like_one_without(stand: Stand) -> None:
    """Lost and brought back, each in the moment in which udev has something to look at; then it can go."""
    quieten_udev(SystemClock(), ours=OURS)
    before = list_arrays()
    stand.start()
    stand.write(0, b"1")
    stand.drop(stand.replicas[2])
    stand.write(1, b"2")
    stand.rejoin(stand.replicas[2], use_bitmap=True)
    look_at_everything()
    assert list_arrays() - before == {f"md_{stand.name}"}
    assert list_multipath_maps() == set()
    assert stand.state().degraded == 0


@pytest.mark.more
@pytest.mark.usefixtures("udev")
def test_multipathd_looks_and_finds_nothing_to_do(used: Stand) -> None:
    """Though the hold layers are of its own target."""
    quieten_udev(SystemClock(), ours=OURS)
    look_at_everything()
    wait(answers_multipathd, "multipathd", timeout=60)
    assert used.state().degraded == 0


def answers_multipathd() -> bool:
    """Without a map. False while it is busy."""
    with suppress(CommandFailed):
        return run(("multipathd", "show", "maps"), timeout=20).strip() == "ok"
    return False
