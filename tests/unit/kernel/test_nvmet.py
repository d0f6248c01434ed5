from dataclasses import replace
from pathlib import Path

import pytest

from replication.control.keys import new_key
from replication.errors import FailedPrecondition, TimedOut
from replication.kernel.nvmet import Export, ExportState, Nvmet
from tests.unit.kernel.fake_nvmet import ROOT, FakeNvmet

EXPORT = Export(
    nqn="nqn.2026-01.io.trilith:v1:r2:e7", device="/dev/dm-3", host_nqn="nqn.2026-01.io.trilith:a7",
    address="10.0.0.1", port=4420, namespace_uuid="5f0c4f0a-0000-4000-8000-000000000001",
    host_key=new_key(), controller_key=new_key(),
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> FakeNvmet:
    return FakeNvmet(tmp_path)


@pytest.fixture
def target(tree: FakeNvmet) -> Nvmet:
    return Nvmet(tree)


def test_an_export_is_as_asked_and_repeatable(target: Nvmet, tree: FakeNvmet) -> None:
    for _ in range(2):
        target.ensure_export(EXPORT)
    expected = ExportState(
        EXPORT.nqn, "/dev/dm-3", EXPORT.namespace_uuid, enabled=True,
        host_nqns=(EXPORT.host_nqn,), ports=(("10.0.0.1", 4420),),
    )  # fmt: skip
    assert target.list_exports("nqn.2026-01.io.trilith:") == (expected,)
    assert target.find_export(EXPORT.nqn) == expected
    assert tree.read(f"{ROOT}/hosts/{EXPORT.host_nqn}/dhchap_key") == EXPORT.host_key
    assert tree.read(f"{ROOT}/subsystems/{EXPORT.nqn}/attr_allow_any_host") == "0"


def test_nothing_is_reachable_before_everything_is_set(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    assert tree.log[-1] == f"link ports/1/subsystems/{EXPORT.nqn}"


def test_keys_are_in_no_representation() -> None:
    assert "DHHC" not in repr(EXPORT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "/dev/dm-4"}, "exports"),
        ({"namespace_uuid": "5f0c4f0a-0000-4000-8000-000000000002"}, "exports"),
        ({"host_nqn": "nqn.2026-01.io.trilith:b1"}, "is exported to nqn.2026-01.io.trilith:a7 already"),
        ({"host_key": new_key()}, "another key"),
    ],
)
def test_an_export_that_differs_is_refused(
    target: Nvmet, tree: FakeNvmet, change: dict[str, str], said: str
) -> None:
    target.ensure_export(EXPORT)
    with pytest.raises(FailedPrecondition, match=said) as caught:
        target.ensure_export(replace(EXPORT, **change))  # type: ignore[arg-type]
    assert "DHHC" not in str(caught.value)
    assert tree.names(f"{ROOT}/hosts") == (EXPORT.host_nqn,)


def test_exports_share_a_port_and_another_address_gets_its_own(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    target.ensure_export(replace(EXPORT, nqn=EXPORT.nqn + "b", host_nqn=EXPORT.host_nqn + "b"))
    target.ensure_export(replace(EXPORT, nqn=EXPORT.nqn + "c", host_nqn=EXPORT.host_nqn + "c", port=4421))
    assert tree.names(f"{ROOT}/ports") == ("1", "2")
    assert len(tree.names(f"{ROOT}/ports/1/subsystems")) == 2


def test_a_kernel_without_authentication_gets_no_keys(tmp_path: Path) -> None:
    tree = FakeNvmet(tmp_path, authentication=False)
    target = Nvmet(tree)
    target.ensure_export(replace(EXPORT, host_key="", controller_key=""))
    assert not target.has_authentication()
    assert Nvmet(FakeNvmet(tmp_path / "with")).has_authentication()
    assert tree.names(f"{ROOT}/hosts") == (EXPORT.host_nqn,)


def test_a_fenced_export_is_gone_in_the_order_that_fences(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    tree.log.clear()
    for _ in range(2):
        target.fence(EXPORT.nqn)
    assert tree.log == [
        f"unlink ports/1/subsystems/{EXPORT.nqn}",
        f"subsystems/{EXPORT.nqn}/namespaces/1/enable ← 0",
        f"rmdir subsystems/{EXPORT.nqn}/namespaces/1",
        f"unlink subsystems/{EXPORT.nqn}/allowed_hosts/{EXPORT.host_nqn}",
        f"rmdir hosts/{EXPORT.host_nqn}",
        f"rmdir subsystems/{EXPORT.nqn}",
    ]
    assert target.list_exports() == ()


def test_a_disk_that_does_not_drain_is_not_fenced_however_often_one_asks(
    target: Nvmet, tree: FakeNvmet
) -> None:
    """`enable` reads 0 as soon as the draining has begun: nobody may take that for its end."""
    target.ensure_export(EXPORT)
    tree.drained.clear()
    for _ in range(3):
        with pytest.raises(TimedOut, match=f"fence {EXPORT.nqn}"):
            target.fence(EXPORT.nqn, timeout=0.05)
    assert target.find_export(EXPORT.nqn) is not None
    tree.drained.set()
    target.fence(EXPORT.nqn, timeout=5)
    assert target.find_export(EXPORT.nqn) is None


def test_another_agent_does_not_take_the_half_drained_for_fenced(tree: FakeNvmet) -> None:
    """The first was killed while it waited; `enable` is 0 already, and the target still has the disk."""
    opened = {EXPORT.device}
    target = Nvmet(tree, is_open=lambda device: device in opened)
    target.ensure_export(EXPORT)
    for _ in range(2):
        with pytest.raises(TimedOut):
            target.fence(EXPORT.nqn, timeout=0.05)
    assert target.find_export(EXPORT.nqn) is not None
    opened.clear()
    target.fence(EXPORT.nqn, timeout=5)
    assert target.find_export(EXPORT.nqn) is None


def test_a_host_that_another_export_still_allows_stays(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    target.ensure_export(replace(EXPORT, nqn=EXPORT.nqn + "b"))
    target.fence(EXPORT.nqn)
    assert tree.names(f"{ROOT}/hosts") == (EXPORT.host_nqn,)


def test_what_a_crash_left_is_cleared_away(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    tree.make_directory(f"{ROOT}/hosts/nqn.2026-01.io.trilith:orphan")
    tree.make_directory(f"{ROOT}/hosts/somebody-else")
    tree.make_directory(f"{ROOT}/ports/9")
    target.remove_unused_hosts("nqn.2026-01.io.trilith:")
    target.remove_unused_ports()
    assert tree.names(f"{ROOT}/hosts") == (EXPORT.host_nqn, "somebody-else")
    assert tree.names(f"{ROOT}/ports") == ("1",)


def test_a_half_made_export_is_completed(target: Nvmet, tree: FakeNvmet) -> None:
    tree.make_directory(f"{ROOT}/subsystems/{EXPORT.nqn}")
    tree.make_directory(f"{ROOT}/subsystems/{EXPORT.nqn}/namespaces/1")
    target.ensure_export(EXPORT)
    state = target.find_export(EXPORT.nqn)
    assert state is not None
    assert (state.enabled, state.device) == (True, "/dev/dm-3")


def test_a_new_size_is_announced(target: Nvmet, tree: FakeNvmet) -> None:
    target.ensure_export(EXPORT)
    target.revalidate_size(EXPORT.nqn)
    assert tree.log[-1] == f"subsystems/{EXPORT.nqn}/namespaces/1/revalidate_size ← 1"
