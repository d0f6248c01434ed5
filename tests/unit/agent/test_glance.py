from pathlib import Path

from replication.agent.assembled import Assembled
from replication.agent.glance import Glances, choose_sentinels
from replication.agent.members import Joint, Remote
from replication.agent.turns import AT_ONCE, TURNS
from replication.kernel.md_state import array_path, member_path
from replication.kernel.sysfs import Tree


def make_array(
    root: Path, epoch: int, state: str = "active", name: str = "v1", remote: Remote | None = None
) -> Assembled:
    """One member; its files are new, as those of every array that md makes."""
    joint = Joint("r0", hold=f"hold-{epoch}", kname="dm-1", below="dm-0", remote=remote)
    for name_ in (f"{array_path(name)}/array_state", f"{member_path(name, 'dm-1')}/state"):
        path = root / name_.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(state)
    return Assembled(name, epoch, {"r0": joint})


def set_state(root: Path, state: str, name: str = "v1") -> None:
    (root / f"{array_path(name)}/array_state".lstrip("/")).write_text(state)


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


def make_many(root: Path) -> list[Assembled]:
    """All but the last with a member on the same peer."""
    remote = Remote("nqn", "nvme1", "10.0.0.2", 4420)
    count = AT_ONCE * TURNS
    return [make_array(root, 1, name=f"v{n}", remote=remote if n < count else None) for n in range(count + 1)]


def test_each_of_many_arrays_is_glanced_at_once_in_so_many_rounds(tmp_path: Path) -> None:
    arrays, glances = make_many(tmp_path), Glances(Tree(tmp_path))
    glances.follow(arrays)
    assert len(glances.find_changed(arrays, 0)) == len(arrays), "all are new"
    set_state(tmp_path, "write-pending", "v3")
    found = [glances.find_changed(arrays, number) for number in range(TURNS)]
    assert found.count(frozenset({"v3"})) == 1
    assert found.count(frozenset()) == TURNS - 1


def test_an_array_that_md_tells_of_is_glanced_at_at_once(tmp_path: Path) -> None:
    arrays, glances = make_many(tmp_path), Glances(Tree(tmp_path))
    glances.follow(arrays)
    glances.find_changed(arrays, 0)
    set_state(tmp_path, "write-pending", "v3")
    glances.hear([glances.list_states()[3].fileno()])
    assert glances.find_changed(arrays, 4) == {"v3"}


def test_when_one_array_of_a_peer_has_changed_all_are_glanced_at(tmp_path: Path) -> None:
    arrays, glances = make_many(tmp_path), Glances(Tree(tmp_path))
    glances.follow(arrays)
    glances.find_changed(arrays, 0)
    (sentinel,) = choose_sentinels(arrays)
    for name in (sentinel, "v3", f"v{AT_ONCE * TURNS}"):
        set_state(tmp_path, "write-pending", name)
    assert glances.find_changed(arrays, 4) == {sentinel, "v3", f"v{AT_ONCE * TURNS}"}
