from pathlib import Path

import pytest

from hack.lab.apt import (
    Source,
    choose_sources,
    format_sources,
    parse_deb822,
    parse_one_line,
    read_sources,
)
from hack.lab.errors import LabError

_KEY = "/usr/share/keyrings/archive.gpg"
_DEBIAN = Source("http://mirror.example/debian", ("bookworm", "bookworm-updates"), ("main",), _KEY)
_SECURITY = Source("http://mirror.example/debian-security", ("bookworm-security",), ("main",), _KEY)
_OTHER = Source("https://tools.example/apt", ("stable",), ("main",))


def test_deb822_stanzas_are_read_with_their_comments_left_out() -> None:
    text = f"""Types: deb
# http://snapshot.example/
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: {_KEY}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: {_KEY}
"""
    assert list(parse_deb822(text)) == [_DEBIAN, _SECURITY]


@pytest.mark.parametrize("line", ["Enabled: no", "Types: deb-src"])
def test_stanzas_that_give_no_packages_are_left_out(line: str) -> None:
    text = f"Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n{line}\n"
    assert not list(parse_deb822(text))


def test_every_uri_of_a_stanza_is_a_source() -> None:
    text = "Types: deb deb-src\nURIs: http://a.example/debian http://b.example/debian\nSuites: sid\n"
    assert [source.uri for source in parse_deb822(text)] == [
        "http://a.example/debian",
        "http://b.example/debian",
    ]


def test_a_key_in_the_stanza_is_kept_with_its_lines() -> None:
    text = "Types: deb\nURIs: http://a.example/debian\nSuites: sid\nSigned-By:\n -----BEGIN\n .\n abc\n"
    (source,) = parse_deb822(text)
    assert source.signed_by == "\n -----BEGIN\n .\n abc"
    assert list(parse_deb822(format_sources([source]))) == [source]


def test_one_line_sources_are_read() -> None:
    text = f"""# comment
deb http://mirror.example/debian bookworm main contrib # more
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by={_KEY}] http://mirror.example/debian-security bookworm-security main
deb broken
"""
    assert list(parse_one_line(text)) == [
        Source("http://mirror.example/debian", ("bookworm",), ("main", "contrib")),
        Source("http://mirror.example/debian-security", ("bookworm-security",), ("main",), _KEY),
    ]


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (tmp_path / "sources.list.d" / "b.list").write_text("deb http://b.example/debian bookworm main\n")
    (tmp_path / "sources.list.d" / "c.sources").write_text(format_sources([_DEBIAN]))
    assert [source.uri[7] for source in read_sources(tmp_path)] == ["a", "b", "m"]


def test_only_the_suites_of_the_machines_mirror_are_replaced() -> None:
    main, security = choose_sources([_OTHER, _DEBIAN, _SECURITY], "bookworm")
    assert main == Source(
        _DEBIAN.uri, ("bookworm", "bookworm-updates", "bookworm-backports"), ("main",), _KEY
    )
    assert security == _SECURITY


def test_a_machine_of_another_release_lends_its_mirror() -> None:
    trixie = Source("http://mirror.example/debian/", ("trixie",), ("main",))
    assert choose_sources([_OTHER, trixie], "bookworm")[0].uri == trixie.uri


def test_a_vendor_who_borrows_the_name_of_the_suite_is_not_debian() -> None:
    vendor = Source("https://vendor.example/linux", ("bookworm",), ("stable",))
    assert choose_sources([vendor, _DEBIAN], "bookworm")[0].uri == _DEBIAN.uri


def test_without_an_archive_of_debian_the_error_says_so() -> None:
    with pytest.raises(LabError, match="no Debian archive"):
        choose_sources([_OTHER], "bookworm")
