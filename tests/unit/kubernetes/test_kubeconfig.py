"""What a kubeconfig may say, and what is said of one that cannot be used."""

from pathlib import Path

import pytest
import yaml

from replication.errors import FailedPrecondition, TrilithError, Unsupported
from replication.kubernetes.access import find_access, read_kubeconfig

TOKEN: dict[str, object] = {"token": "secret"}


def write(folder: Path, user: dict[str, object] = TOKEN, **cluster: object) -> Path:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    read = read_kubeconfig(write(tmp_path, {"tokenFile": "token"})).read_token
    assert read is not None
    assert read() == "first"
    (tmp_path / "token").write_text("second")
    assert read() == "second"


@pytest.mark.parametrize(
    ("user", "cluster", "kind", "why"),
    [
        ({"exec": {"command": "login"}}, {}, Unsupported, "made by a program is not supported"),
        (TOKEN, {"server": "https://x", "insecure-skip-tls-verify": True}, FailedPrecondition, "insecure"),
        (TOKEN, {"server": "https://x", "certificate-authority-data": "?"}, FailedPrecondition, "is not one"),
        (TOKEN, {"server": "https://x", "certificate-authority": "none"}, FailedPrecondition, "No such file"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, user: dict[str, object], cluster: dict[str, object], kind: type[TrilithError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        read_kubeconfig(write(tmp_path, user, **cluster))


@pytest.mark.parametrize("text", ["", "[]", "{", "current-context: here", "contexts: []\ncurrent-context: x"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(FailedPrecondition, match=r"kubeconfig .*config is not one"):
        read_kubeconfig(tmp_path / "config")


def test_the_file_that_is_named_goes_before_the_one_at_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    home = write(tmp_path / "home", server="http://home")
    named = write(tmp_path, server="http://named")
    nowhere = tmp_path / "nowhere"
    assert find_access({"KUBECONFIG": str(named)}, nowhere, home).server == "http://named"
    assert find_access({}, nowhere, home).server == "http://home"
    with pytest.raises(FailedPrecondition, match="no Kubernetes API server is known"):
        find_access({}, nowhere, nowhere)
