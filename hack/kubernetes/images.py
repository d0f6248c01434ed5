"""Container images made by hand from files of this machine: no registry, no builder."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hack.lab import paths
from hack.lab.packages import get_tree

BUSYBOX = "trilith.io/lab/busybox:1"
PAUSE = "trilith.io/lab/pause:1"
_FOLDERS = {"bin": 0o755, "etc": 0o755, "tmp": 0o1777, "root": 0o700, "var": 0o755}
_APPLETS = (
    *(
        "cat",
        "chmod",
        "cp",
        "date",
        "dd",
        "df",
        "echo",
        "env",
        "false",
        "grep",
        "head",
        "hostname",
        "id",
        "kill",
    ),
    *(
        "ls",
        "md5sum",
        "mkdir",
        "mount",
        "mv",
        "nc",
        "ps",
        "rm",
        "sh",
        "sleep",
        "stat",
        "sync",
        "tail",
        "test",
    ),
    *("touch", "true", "wc", "wget"),
)
_USERS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnobody:x:65534:\n",
}


@dataclass(frozen=True, slots=True)
class Image:
    """One layer. `files` are bytes by path, all of them executable; `config` is what runs in it."""

    tag: str
    files: Mapping[str, bytes]
    config: Mapping[str, object]
    links: Mapping[str, str] = field(default_factory=dict)


def make_images() -> tuple[Image, ...]:
    """What the lab's pods run, out of Debian's busybox."""
    busybox = (get_tree("host") / "usr" / "bin" / "busybox").read_bytes()
    files = {"bin/busybox": busybox, **_USERS}
    links = {f"bin/{applet}": "busybox" for applet in _APPLETS}
    forever = ["/bin/busybox", "sleep", "2000000000"]  # the runtime kills it: it need not hear signals
    return (
        Image(BUSYBOX, files, {"Cmd": ["sh"], "Env": ["PATH=/bin"]}, links),
        Image(PAUSE, {"bin/busybox": busybox}, {"Entrypoint": forever}),
    )


def ensure_archive(images: Sequence[Image]) -> Path:
    """As `docker save` writes it, which containerd imports. In the user's cache, where machines see it."""
    path = paths.cache() / f"images-{_digest(images)}.tar"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            _write_archive(file, images)
        Path(file.name).replace(path)
    return path


def _digest(images: Sequence[Image]) -> str:
    found = hashlib.sha256()
    for image in images:
        found.update(f"{image.tag}{image.config}{sorted(image.links.items())}".encode())
        for name, content in sorted(image.files.items()):
            found.update(f"{name} {len(content)} ".encode() + content)
    return found.hexdigest()[:12]


def _write_archive(file: IO[bytes], images: Sequence[Image]) -> None:
    manifest = []
    with tarfile.open(fileobj=file, mode="w") as archive:
        for image in images:
            layer = _make_layer(image)
            digest = hashlib.sha256(layer).hexdigest()
            config = _make_config(image, digest)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, name, config)
            _add(archive, f"{digest}.tar", layer)
            manifest.append({"Config": name, "RepoTags": [image.tag], "Layers": [f"{digest}.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _make_config(image: Image, layer: str) -> bytes:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(image.config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }
    return json.dumps(config).encode()


def _make_layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name, mode in _FOLDERS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            layer.addfile(entry)
        for name, content in image.files.items():
            _add(layer, name, content)
        for name, target in image.links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            layer.addfile(entry)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    archive.addfile(entry, io.BytesIO(content))
