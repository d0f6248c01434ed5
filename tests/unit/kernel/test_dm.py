from pathlib import Path

import pytest

from replication.errors import FailedPrecondition, InvalidRequest, KernelError, NotFound, Unsupported
from replication.kernel.dm import ControlNode, DeviceMapper
from replication.kernel.dm_wire import Target
from replication.kernel.hold import HoldLayer, parse_path
from tests.unit.kernel.fake_dm import FakeControl
from tests.unit.kernel.fake_tree import FakeTree

SIZE = 64 << 20
LINEAR = Target(0, 2048, "linear", "259:0 0")


@pytest.fixture
def mapper(control: FakeControl) -> DeviceMapper:
    return DeviceMapper(control)


@pytest.fixture
def layer(mapper: DeviceMapper, tmp_path: Path) -> HoldLayer:
    tree = FakeTree(tmp_path)
    for minor in range(4):
        tree.add_block_device(f"dm-{minor}", f"253:{minor}", SIZE, inflight="       1        2")
    return HoldLayer(mapper, tree)


def test_a_device_is_made_loaded_and_started(mapper: DeviceMapper) -> None:
    made = mapper.create("a", "TRILITH-a", (LINEAR, Target(2048, 8, "linear", "259:1 16")))
    assert (made.number, made.suspended, made.has_table, made.uuid) == ("253:0", False, True, "TRILITH-a")
    assert mapper.table("a") == (LINEAR, Target(2048, 8, "linear", "259:1 16"))
    assert mapper.dependencies("a") == ("259:0",)


def test_a_device_whose_table_is_refused_is_removed_again(mapper: DeviceMapper, control: FakeControl) -> None:
    control.refuse_load = True
    with pytest.raises(KernelError, match="load of a: Invalid argument"):
        mapper.create("a", "", (LINEAR,))
    assert mapper.find("a") is None


def test_a_device_that_is_not_there_is_not_found(mapper: DeviceMapper) -> None:
    assert mapper.find("a") is None
    with pytest.raises(NotFound, match="status of a"):
        mapper.get("a")
    mapper.remove("a")


def test_an_open_device_is_not_removed(mapper: DeviceMapper, control: FakeControl) -> None:
    mapper.create("a", "", (LINEAR,))
    control.devices["a"].opened = 1
    with pytest.raises(FailedPrecondition, match="it is open"):
        mapper.remove("a")
    control.devices["a"].opened = 0
    mapper.remove("a")
    assert mapper.find("a") is None


def test_opens_are_counted_by_number(mapper: DeviceMapper, control: FakeControl, tmp_path: Path) -> None:
    mapper.create("a", "", (LINEAR,))
    assert mapper.count_opens("253:0") == 0
    control.devices["a"].opened = 2
    assert mapper.count_opens("253:0") == 2
    assert mapper.count_opens("259:1") == 0
    assert not mapper.is_open(str(tmp_path))
    assert not mapper.is_open(str(tmp_path / "gone"))
    assert not mapper.is_open("/dev/null")


def test_every_device_is_listed_with_its_events(mapper: DeviceMapper, control: FakeControl) -> None:
    assert mapper.list_devices() == ()
    for name in ("a", "a-longer-name", "b"):
        mapper.create(name, f"TRILITH-{name}", (LINEAR,))
    control.devices["b"].event = 7
    listed = [(each.name, each.number, each.event_number) for each in mapper.list_devices()]
    assert listed == [("a", "253:0", 0), ("a-longer-name", "253:1", 0), ("b", "253:2", 7)]


def test_a_long_answer_is_asked_for_again_with_more_room(mapper: DeviceMapper) -> None:
    targets = tuple(Target(8 * index, 8, "linear", f"259:0 {index}") for index in range(200))
    mapper.create("a", "", targets)
    assert mapper.table("a") == targets


def test_an_event_ends_the_wait(mapper: DeviceMapper, control: FakeControl) -> None:
    mapper.create("a", "", (LINEAR,))
    assert mapper.wait_event("a", 0, timeout=0.01) == 0
    control.set_path("a", active=False)
    assert mapper.wait_event("a", 0, timeout=5) == 1


def test_a_name_that_does_not_fit_is_refused(mapper: DeviceMapper) -> None:
    with pytest.raises(InvalidRequest):
        mapper.create("a" * 128, "", (LINEAR,))


def test_without_device_mapper_it_says_what_to_load(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="dm-mod"):
        ControlNode(str(tmp_path / "control"))


def test_a_hold_layer_queues_when_its_path_fails(layer: HoldLayer, control: FakeControl) -> None:
    assert layer.ensure("h", "259:0", SIZE) == "dm-0"
    parameters = control.devices["h"].targets[0].parameters
    assert parameters == "3 queue_if_no_path queue_mode bio 0 1 1 service-time 0 1 1 259:0 1"
    state = layer.read("h")
    assert (state.path, state.path_active, state.queueing, state.holding) == ("259:0", True, True, False)
    assert (state.size_bytes, state.in_flight, state.number) == (SIZE, 3, "253:0")
    control.set_path("h", active=False)
    assert layer.read("h").holding
    assert layer.read("h").fail_count == 1


def test_releasing_lets_requests_fail_and_holding_takes_it_back(layer: HoldLayer) -> None:
    layer.ensure("h", "259:0", SIZE)
    for _ in range(2):
        layer.release("h")
    assert not layer.read("h").queueing
    layer.hold("h")
    assert layer.read("h").queueing


def test_a_path_that_came_back_is_used_again(layer: HoldLayer) -> None:
    layer.ensure("h", "259:0", SIZE)
    layer.fail_path("h", "259:0")
    assert not layer.read("h").path_active
    layer.reinstate("h", "259:0")
    assert layer.read("h").path_active


def test_a_layer_over_something_else_is_refused(layer: HoldLayer, mapper: DeviceMapper) -> None:
    layer.ensure("h", "259:0", SIZE)
    assert layer.ensure("h", "259:0", SIZE) == "dm-0"
    with pytest.raises(FailedPrecondition, match="over 259:0, not"):
        layer.ensure("h", "259:1", SIZE)
    with pytest.raises(FailedPrecondition):
        layer.ensure("h", "259:0", 2 * SIZE)
    mapper.create("x", "", (LINEAR,))
    with pytest.raises(FailedPrecondition, match="x is not a hold layer"):
        layer.ensure("x", "259:0", SIZE)


def test_a_stranger_is_not_taken_for_ours(layer: HoldLayer, mapper: DeviceMapper) -> None:
    layer.ensure("h", "259:0", SIZE)
    target = mapper.table("h")
    mapper.create("mpatha", "mpath-1", target)
    with pytest.raises(FailedPrecondition, match="not a hold layer of ours"):
        layer.ensure("mpatha", "259:0", SIZE)


def test_a_layer_that_lets_go_is_made_anew_unless_it_is_in_use(
    layer: HoldLayer, control: FakeControl
) -> None:
    layer.ensure("hold", "259:0", SIZE)
    layer.release("hold")
    control.devices["hold"].opened = 1
    with pytest.raises(FailedPrecondition):
        layer.ensure("hold", "259:0", SIZE)
    control.devices["hold"].opened = 0
    layer.ensure("hold", "259:0", SIZE)
    assert layer.read("hold").queueing


def test_a_layer_that_was_left_asleep_is_woken(
    layer: HoldLayer, control: FakeControl, mapper: DeviceMapper
) -> None:
    layer.ensure("h", "259:0", SIZE)
    mapper.suspend("h")
    layer.ensure("h", "259:0", SIZE)
    assert not control.devices["h"].suspended


def test_a_layer_that_was_half_made_is_made(layer: HoldLayer, control: FakeControl) -> None:
    control._create("h", "", 0)  # type: ignore[arg-type]
    assert layer.ensure("h", "259:0", SIZE) == "dm-1"


def test_reloading_puts_it_over_another_device_and_size(layer: HoldLayer, control: FakeControl) -> None:
    layer.ensure("h", "259:0", SIZE)
    control.set_path("h", active=False)
    layer.reload("h", "259:7", 2 * SIZE)
    state = layer.read("h")
    assert (state.path, state.size_bytes, state.path_active) == ("259:7", 2 * SIZE, True)


def test_layers_are_found_by_their_names(layer: HoldLayer) -> None:
    for name in ("t-b", "t-a", "other"):
        layer.ensure(name, "259:0", SIZE)
    assert layer.list_names("t-") == ("t-a", "t-b")
    for _ in range(2):
        layer.remove("t-a")
    assert layer.find("t-a") is None


def test_a_status_of_6_12_is_understood() -> None:
    assert parse_path("2 1 0 0 1 1 E 0 1 2 1:0 A 0 0 1") == ("1:0", True, 0)
    assert parse_path("2 0 0 0 1 1 A 0 1 2 259:12 F 3 8192 1") == ("259:12", False, 3)
    for text in ("0 0", "2 0 0 0 0 0", "0 0 1 1 A 0 1 2 259:12 X 3"):
        with pytest.raises(KernelError, match="not understood"):
            parse_path(text)
