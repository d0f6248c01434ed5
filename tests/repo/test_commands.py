"""What the README tells to type fits what is there."""

import tomllib
from pathlib import Path

import pytest
import yaml

from hack.helm.chart import CHART, NAMESPACE
from hack.kubernetes.documented import GUIDE, README, get_command, get_manifest
from hack.lab.errors import LabError
from tests.repo.sources import ROOT


def option(words: tuple[str, ...], name: str) -> str:
    return words[words.index(name) + 1]


def test_the_image_that_is_built_is_the_one_that_the_chart_runs() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())["image"]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    build, push = (get_command(README, f"buildah {step}") for step in ("build", "push"))
    image = f"{values['repository']}:{version}"
    assert option(build, "--tag") == push[2] == image
    assert option(build, "--build-arg") == f"VERSION={version}"
    assert (ROOT / option(build, "--file")).is_file()
    assert push[3] == f"docker-archive:{get_command(README, 'ctr')[-1]}:{image}"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == version


def test_the_pool_is_where_the_chart_is_installed_and_takes_the_nodes_that_get_the_label() -> None:
    helm, pool = get_command(README, "helm install"), get_manifest(README, "StoragePool")
    assert ROOT / helm[3] == CHART
    assert option(helm, "--namespace") == pool["metadata"]["namespace"] == NAMESPACE
    ((key, value),) = pool["spec"]["nodeSelector"].items()
    assert get_command(README, "kubectl label")[-1] == f"{key}={value}"


@pytest.mark.parametrize("document", [README, GUIDE], ids=lambda path: path.name)
def test_pods_ask_for_the_class_of_that_pool(document: Path) -> None:
    (volume,) = get_manifest(document, "Pod")["spec"]["volumes"]
    claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
    pool = get_manifest(README, "StoragePool")["metadata"]["name"]
    assert claim["storageClassName"] == f"trilith-{pool}"


def test_what_a_document_does_not_have_is_said(tmp_path: Path) -> None:
    (tmp_path / "some.md").write_text("Words.\n\n    run it\n")
    assert get_command(tmp_path / "some.md", "run") == ("run", "it")
    with pytest.raises(LabError, match=r"some\.md has no Pod"):
        get_manifest(tmp_path / "some.md", "Pod")
