from pathlib import Path

from hack.golang import Program
from hack.kubernetes.build import CLUSTER, PROVISIONER


def test_a_sidecars_package_is_the_one_that_its_module_pins() -> None:
    assert PROVISIONER.package == "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"


def test_every_program_of_the_cluster_has_a_name_of_its_own() -> None:
    paths = [program.path() for program in CLUSTER]
    assert len(set(paths)) == len(paths)


def test_a_program_of_ours_is_built_anew_when_its_source_changes(tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum", "one/main.go"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    program = Program("one", tmp_path, "./one")
    before = program.path()
    (tmp_path / "one" / "main.go").write_text("package main\n")
    assert program.path() != before
