from dataclasses import replace
from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, KernelError
from replication.kernel.dm import DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.wholes import Part, Wholes, format_table, is_beginning
from replication.model import MIB
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_tree import FakeTree

NAME = "trilith_v1_r0"
PARTS = ("/dev/a/one", "/dev/b/two")
PAIR = (Part("252:0", 24576), Part("252:1", 16384 + 100))


@pytest.fixture
def tree(tmp_path: Path) -> FakeTree:
    made = FakeTree(tmp_path)
    for minor, path in enumerate(PARTS):
        made.add_block_device(f"lv{minor}", f"252:{minor}", 12 * MIB)
        made.numbers[path] = f"252:{minor}"
    for minor in range(2):
        made.add_block_device(f"dm-{minor}", f"253:{minor}", 16 * MIB)
    return made


@pytest.fixture
def wholes(tree: FakeTree, control: FakeControl) -> Wholes:
    return Wholes(DeviceMapper(control), tree)


def test_a_table_leaves_each_part_its_own_beginning() -> None:
    assert format_table(PAIR, striped=False) == (
        Target(0, 16384, "linear", "252:0 8192"),
        Target(16384, 8292, "linear", "252:1 8192"),
    )


def test_stripes_take_the_same_of_each_part() -> None:
    (target,) = format_table(PAIR, striped=True)
    assert target == Target(0, 2 * 8192, "striped", "2 512 252:0 8192 252:1 8192")


def test_only_the_end_may_have_grown() -> None:
    wanted = format_table(PAIR, striped=False)
    first, last = wanted
    assert is_beginning(wanted, wanted)
    assert is_beginning((first,), wanted)
    assert is_beginning((first, replace(last, sectors=8)), wanted)
    assert not is_beginning((), wanted)
    assert not is_beginning((last, first), wanted)
    assert not is_beginning((replace(first, sectors=8), last), wanted)
    assert not is_beginning((first, replace(last, parameters="252:7 8192")), wanted)
    assert not is_beginning((first, replace(last, sectors=last.sectors + 8)), wanted)
    assert not is_beginning((*wanted, last), wanted)


def test_it_is_found_again_and_goes_without_a_trace(
    tree: FakeTree, control: FakeControl, wholes: Wholes
) -> None:
    path = wholes.ensure(NAME, PARTS, striped=False)
    assert tree.link_name(path) == "dm-0"
    assert wholes.ensure(NAME, PARTS, striped=False) == path
    for _ in range(2):
        wholes.remove(NAME)
    assert (control.devices, tree.exists(path)) == ({}, False)


def test_it_grows_with_its_last_part(tree: FakeTree, control: FakeControl, wholes: Wholes) -> None:
    wholes.ensure(NAME, PARTS, striped=False)
    tree.put("/sys/class/block/lv1/size", str(20 * MIB // 512))
    wholes.ensure(NAME, PARTS, striped=False)
    assert [target.sectors for target in control.devices[NAME].targets] == [16384, 32768]


def test_a_growth_that_stood_still_half_way_goes_on(control: FakeControl, wholes: Wholes) -> None:
    wholes.ensure(NAME, PARTS, striped=True)
    control.devices[NAME].suspended = True
    wholes.ensure(NAME, PARTS, striped=True)
    assert not control.devices[NAME].suspended


def test_one_that_crashed_before_its_table_was_there_is_made_anew(
    control: FakeControl, wholes: Wholes
) -> None:
    wholes.ensure(NAME, PARTS, striped=False)
    control.devices[NAME].targets = []
    wholes.ensure(NAME, PARTS, striped=False)
    assert len(control.devices[NAME].targets) == 2


def test_another_order_is_refused(control: FakeControl, wholes: Wholes) -> None:
    wholes.ensure(NAME, PARTS, striped=False)
    table = list(control.devices[NAME].targets)
    with pytest.raises(FailedPrecondition, match="is made of"):
        wholes.ensure(NAME, PARTS[::-1], striped=False)
    with pytest.raises(FailedPrecondition, match="is made of"):
        wholes.ensure(NAME, PARTS, striped=True)
    assert control.devices[NAME].targets == table


def test_another_ones_device_of_that_name_is_refused(control: FakeControl, wholes: Wholes) -> None:
    wholes.ensure(NAME, PARTS, striped=False)
    control.devices[NAME].uuid = "LVM-x"
    with pytest.raises(FailedPrecondition, match="no whole of ours: LVM-x"):
        wholes.ensure(NAME, PARTS, striped=False)


def test_one_that_is_open_stays_with_its_link(tree: FakeTree, control: FakeControl, wholes: Wholes) -> None:
    path = wholes.ensure(NAME, PARTS, striped=False)
    control.devices[NAME].opened = 1
    with pytest.raises(FailedPrecondition, match="open"):
        wholes.remove(NAME)
    assert tree.link_name(path) == "dm-0"


def test_nothing_is_left_of_one_that_the_kernel_refuses(control: FakeControl, wholes: Wholes) -> None:
    control.refuse_load = True
    with pytest.raises(KernelError):
        wholes.ensure(NAME, PARTS, striped=False)
    assert control.devices == {}
