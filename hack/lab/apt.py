"""apt with private lists: solve and download for a Debian suite that the machine itself need not use."""

import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError

ETC_APT = Path("/etc/apt")
HOST_STATUS = Path("/var/lib/dpkg/status")


@dataclass(frozen=True, slots=True)
class Source:
    """One archive as the machine's own configuration names it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str | None = None


def parse_deb822(text: str) -> Iterator[Source]:
    """Sources of a `.sources` file; disabled and source-only stanzas are left out."""
    for fields in _stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("uris", "").split():
            yield Source(
                uri,
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by"),
            )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0].isspace():
            fields[key] = f"{fields.get(key, '')}\n{line}"
        else:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()


def parse_one_line(text: str) -> Iterator[Source]:
    """Sources of a `sources.list`: `deb [options] uri suite component…`."""
    for line in text.splitlines():
        words = line.partition("#")[0].replace("[", " [ ").replace("]", " ] ").split()
        if not words or words[0] != "deb":
            continue
        options, rest = _split_options(words[1:])
        if len(rest) >= 2:
            yield Source(rest[0], (rest[1],), tuple(rest[2:]), options.get("signed-by"))


def _split_options(words: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    if not words or words[0] != "[" or "]" not in words:
        return {}, words
    end = list(words).index("]")
    pairs = (word.partition("=") for word in words[1:end])
    return {key.lower(): value for key, _, value in pairs}, words[end + 1 :]


def read_sources(etc: Path = ETC_APT) -> list[Source]:
    """Every binary archive that this machine's apt uses."""
    lists = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    found = [source for path in lists if path.exists() for source in parse_one_line(path.read_text())]
    for path in sorted((etc / "sources.list.d").glob("*.sources")):
        found.extend(parse_deb822(path.read_text()))
    return found


def choose_sources(machine: Sequence[Source], release: str) -> list[Source]:
    """Debian's archives for `release`, at the mirrors this machine already uses.

    The main archive is the one listed for `release` itself, or for any suite of Debian when the machine runs
    another release: only the suite names are ours.
    """
    main = _choose_main(machine, release)
    suites = (release, f"{release}-updates", f"{release}-backports")
    chosen = [Source(main.uri, suites, ("main",), main.signed_by)]
    for source in machine:
        if any(suite.endswith("-security") for suite in source.suites) and "main" in source.components:
            chosen.append(Source(source.uri, (f"{release}-security",), ("main",), source.signed_by))
            break
    return chosen


def _choose_main(machine: Sequence[Source], release: str) -> Source:
    debian = [s for s in machine if "main" in s.components and s.uri.rstrip("/").endswith("/debian")]
    for source in [*debian, *machine]:
        if release in source.suites and "main" in source.components:
            return source
    if debian:
        return debian[0]
    raise LabError(
        f"no Debian archive in {ETC_APT}: the lab takes its kernel and QEMU from one; add a source of Debian"
    )


def format_sources(sources: Sequence[Source]) -> str:
    """The same as a deb822 file."""
    return "\n".join(_format(source) for source in sources)


def _format(source: Source) -> str:
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {' '.join(source.suites)}"]
    lines.append(f"Components: {' '.join(source.components)}")
    if source.signed_by:
        lines.append(f"Signed-By: {source.signed_by}")
    return "\n".join(lines) + "\n"


class Apt:
    """apt-get over lists and downloads of its own below `folder`; the machine's state is at most read."""

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "empty").touch()
        (folder / "lab.sources").write_text(format_sources(sources))

    def update(self) -> None:
        self._run(["apt-get", *self._options(), "update"])

    def versions(self, package: str) -> tuple[str, ...]:
        """What the archives have, newest first."""
        rows = self._run(["apt-cache", *self._options(), "madison", package]).splitlines()
        return tuple(dict.fromkeys(row.split("|")[1].strip() for row in rows if row.count("|") == 2))

    def search(self, pattern: str) -> tuple[str, ...]:
        """Names of packages that match the regular expression."""
        return tuple(sorted(self._run(["apt-cache", *self._options(), "pkgnames", pattern]).split()))

    def download(self, package: str, version: str, into: Path) -> None:
        """One package alone, without what it depends on."""
        self._run(["apt-get", *self._options(), "download", f"{package}={version}"], cwd=into)

    def download_closure(self, packages: Sequence[str], target: str, status: Path | None, into: Path) -> None:
        """The packages and all they depend on that `status` does not list as installed (None: nothing is)."""
        (into / "partial").mkdir(parents=True, exist_ok=True)
        options = {
            "Dir::State::status": str(status or self._folder / "empty"),
            "Dir::Cache::archives": f"{into}/",
            "APT::Default-Release": target,
            "Debug::NoLocking": "1",
        }
        install = ["--yes", "--no-install-recommends", "--download-only", "install", *packages]
        self._run(["apt-get", *self._options(options), *install])

    def _options(self, more: Mapping[str, str] | None = None) -> list[str]:
        options = {
            "Dir::Etc::SourceList": f"{self._folder}/lab.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": f"{self._folder}/lists",
            "Dir::Cache": f"{self._folder}/cache",
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            **(more or {}),
        }
        return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]

    def _run(self, argv: Sequence[str], cwd: Path | None = None) -> str:
        environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            argv,
            check=False,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        if done.returncode:
            raise LabError(f"{shlex.join(argv)}: exit status {done.returncode}: {done.stderr.strip()}")
        return done.stdout
