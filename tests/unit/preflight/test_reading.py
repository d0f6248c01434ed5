"""What is read of a machine, from a tree and a modprobe of the test's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from replication.errors import CommandFailed
from replication.kernel.run import NOTHING
from replication.kernel.sysfs import Tree
from replication.preflight.findings import Facts
from replication.preflight.reading import read_facts
from replication.preflight.system import Family


class Modprobe:
    """Knows all modules but those of `lacking`; loading one makes it appear in the tree."""

    def __init__(self, root: Path, lacking: tuple[str, ...] = ()) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._root = root
        self._lacking = lacking

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        self.asked.append(tuple(argv))
        program, *words = argv
        assert program == "modprobe"
        module = next(word for word in words if not word.startswith("--"))
        if module in self._lacking:
            raise CommandFailed(argv, 1, f"modprobe: FATAL: Module {module} not found\n")
        if "--dry-run" not in words:
            (self._root / "sys/module" / module.replace("-", "_")).mkdir(parents=True)
        return ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {
        "sys/module/raid1/refcnt": "0",
        "sys/module/nvme_core/parameters/multipath": "Y\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu io memory\n",
        "usr/lib/os-release": "ID=debian\nVERSION_ID=13\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def read(root: Path, modprobe: Modprobe, *, load: bool = False, lacking: tuple[str, ...] = ()) -> Facts:
    tree = Tree(root)

    def find_program(name: str) -> str | None:
        return None if name in lacking else f"/usr/sbin/{name}"

    return read_facts(tree, modprobe, tree, load=load, release="6.12.1", find_program=find_program)


def test_a_look_loads_nothing(root: Path) -> None:
    modprobe = Modprobe(root, lacking=("nvmet-tcp",))
    facts = read(root, modprobe)
    assert dict(facts.modules)["nvmet-tcp"] == "modprobe: FATAL: Module nvmet-tcp not found"
    assert [name for name, trouble in facts.modules if trouble] == ["nvmet-tcp"]
    assert all("--dry-run" in argv for argv in modprobe.asked)
    assert not any("raid1" in argv for argv in modprobe.asked)
    assert (facts.system.family, facts.multipath, facts.io_controller) == (Family.DEBIAN, "Y", True)


def test_a_kernel_that_traces_is_seen(root: Path) -> None:
    (root / "sys/kernel/tracing").mkdir(parents=True)
    assert read(root, Modprobe(root)).tracing


def test_modules_are_loaded_with_their_options_when_that_is_asked_for(root: Path) -> None:
    modprobe = Modprobe(root, lacking=("nvmet-tcp",))
    facts = read(root, modprobe, load=True)
    assert dict(facts.modules)["nvmet-tcp"] == "modprobe: FATAL: Module nvmet-tcp not found"
    assert ("modprobe", "nvme-tcp", "wq_unbound=Y") in modprobe.asked
    assert (root / "sys/module/dm_multipath").is_dir()


def test_what_the_kubelet_needs_is_loaded_as_well_and_told_apart(root: Path) -> None:
    facts = read(root, Modprobe(root, lacking=("loop",)), load=True)
    assert facts.kubelet_modules == (("loop", "modprobe: FATAL: Module loop not found"),)
    assert "loop" not in dict(facts.modules)
    assert read(root, Modprobe(root), load=True).kubelet_modules == (("loop", ""),)
    assert (root / "sys/module/loop").is_dir()


def test_what_others_loaded_without_its_option_is_told(root: Path) -> None:
    parameters = root / "sys/module/nvme_tcp/parameters"
    parameters.mkdir(parents=True)
    (parameters / "wq_unbound").write_text("N\n")
    assert read(root, Modprobe(root)).missed_options == (("nvme-tcp", "wq_unbound=Y"),)


def test_programs_that_are_not_there_are_told_by_their_package(root: Path) -> None:
    facts = read(root, Modprobe(root), lacking=("mkfs.xfs", "xfs_growfs", "lvm"))
    assert facts.missing_packages == (("lvm2", ("lvm",)), ("xfsprogs", ("mkfs.xfs", "xfs_growfs")))


def test_a_machine_of_another_kind_is_read_all_the_same(tmp_path: Path) -> None:
    facts = read(tmp_path, Modprobe(tmp_path))
    assert (facts.system.family, facts.multipath, facts.io_controller) == (Family.OTHER, None, False)
    assert not facts.tracing
