import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.kubernetes.images import Image, ensure_archive

IMAGE = Image("lab/one:1", {"bin/run": b"program"}, {"Entrypoint": ["/bin/run"]}, {"bin/also": "run"})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "trilith" / "lab").mkdir(parents=True)


def read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_an_archive_says_of_each_image_where_its_layer_and_configuration_are() -> None:
    with tarfile.open(ensure_archive([IMAGE])) as archive:
        (entry,) = json.loads(read(archive, "manifest.json"))
        assert entry["RepoTags"] == ["lab/one:1"]
        assert json.loads(read(archive, entry["Config"]))["config"] == {"Entrypoint": ["/bin/run"]}
        layer = read(archive, entry["Layers"][0])
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert read(files, "bin/run") == b"program"
        assert files.getmember("bin/run").mode & 0o111
        assert files.getmember("bin/also").linkname == "run"


def test_an_archive_is_made_once_and_anew_for_other_images() -> None:
    first = ensure_archive([IMAGE])
    stamp = first.stat().st_mtime_ns
    assert ensure_archive([IMAGE]) == first
    assert first.stat().st_mtime_ns == stamp
    assert ensure_archive([Image("lab/two:1", {}, {})]) != first
