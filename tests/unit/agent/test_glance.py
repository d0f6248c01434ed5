from pathlib import Path

from replication.agent.assembled import Assembled
from replication.agent.glance import Glances
from replication.agent.members import Joint
from replication.kernel.md_state import array_path, member_path
from replication.kernel.sysfs import Tree


def make_array(root: Path, epoch: int, state: str = "active") -> Assembled:
    """One member; its files are new, as those of every array that md makes."""
    joint = Joint("r0", hold=f"hold-{epoch}", kname="dm-1", below="dm-0", remote=None)
    for name in (f"{array_path('v1')}/array_state", f"{member_path('v1', 'dm-1')}/state"):
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(state)
    return Assembled("v1", epoch, {"r0": joint})


def set_state(root: Path, state: str) -> None:
    (root / f"{array_path('v1')}/array_state".lstrip("/")).write_text(state)


def test_an_array_is_new_once(tmp_path: Path) -> None:
    array, glances = make_array(tmp_path, 1), Glances(Tree(tmp_path))
    glances.follow([array])
    assert glances.has_changed(array)
    assert not glances.has_changed(array)


def test_a_write_that_waits_is_a_change_and_its_going_on_another(tmp_path: Path) -> None:
    array, glances = make_array(tmp_path, 1, "clean"), Glances(Tree(tmp_path))
    glances.follow([array])
    glances.has_changed(array)
    set_state(tmp_path, "write-pending")
    assert glances.has_changed(array)
    set_state(tmp_path, "active")
    assert glances.has_changed(array)
    set_state(tmp_path, "active-idle")
    assert not glances.has_changed(array), "md goes from one to the other with every pause"


def test_a_volume_that_was_assembled_again_between_two_rounds_is_seen_anew(tmp_path: Path) -> None:
    """Its first write waits in `write-pending` until somebody sees that."""
    old, glances = make_array(tmp_path, 1), Glances(Tree(tmp_path))
    glances.follow([old])
    glances.has_changed(old)
    new = make_array(tmp_path, 2, "clean")
    glances.follow([new])
    glances.has_changed(new)
    set_state(tmp_path, "write-pending")
    glances.follow([new])
    assert glances.has_changed(new)


def test_a_member_that_came_back_on_another_device_is_seen_anew(tmp_path: Path) -> None:
    array, glances = make_array(tmp_path, 1), Glances(Tree(tmp_path))
    glances.follow([array])
    glances.has_changed(array)
    array.members["r0"].kname = "dm-7"
    glances.follow([array])
    assert glances.has_changed(array)


def test_what_was_forgotten_is_new_again(tmp_path: Path) -> None:
    array, glances = make_array(tmp_path, 1), Glances(Tree(tmp_path))
    glances.follow([array])
    glances.has_changed(array)
    glances.forget("v1")
    glances.follow([array])
    assert glances.has_changed(array)


def test_the_states_of_arrays_that_are_gone_are_not_polled(tmp_path: Path) -> None:
    array, glances = make_array(tmp_path, 1), Glances(Tree(tmp_path))
    glances.follow([array])
    assert len(glances.list_states()) == 1
    glances.follow([])
    assert glances.list_states() == []
