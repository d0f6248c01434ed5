"""Who may import whom: docs/architecture.md draws it, this holds it."""

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.repo.sources import PACKAGES, list_modules, parse

SHARED = {
    "replication.model",
    "replication.errors",
    "replication.clock",
    "replication.identities",
    "replication.peer",
    "replication.pki",
    "replication.signing",
    "replication.files",
    "replication.layout",
    "replication.logs",
    "replication.threads",
    "replication.traces",
    "replication.trouble",
    "replication.tuning",
    "replication.usage",
}
BELOW_CONTROL = {"replication.control", "replication.kubernetes", "replication.rpc", *SHARED}
VALUES = {f"replication.{name}" for name in ("model", "errors", "layout", "tuning")}
LOOKING = {f"replication.kernel.{name}" for name in ("modules", "run", "sysfs")}
"""By which `trilith node check` looks at the machine that it runs on; the rest of the command does not."""
PURE = (
    "lifecycle",
    "insync",
    "rebuild",
    "placement",
    "replacement",
    "settings",
    "upkeep",
    "progress",
    "flapping",
    "restored",
    "cordons",
)
CORE = {f"replication.control.{name}" for name in PURE}

ALLOWED: dict[str, set[str]] = {
    "replication.errors": set(),
    "replication.layout": {"replication.errors"},
    "replication.model": {"replication.errors", "replication.tuning"},
    "replication.traces": set(),
    "replication.trouble": {"replication.model"},
    "replication.usage": {"replication.model"},
    "replication.tuning": set(),
    "replication.clock": {"replication.errors"},
    "replication.files": {"replication.errors"},
    "replication.logs": set(),
    "replication.peer": set(),
    "replication.threads": set(),
    "replication.identities": SHARED,
    "replication.pki": SHARED,
    "replication.signing": SHARED,
    "replication.rpc": {"replication.rpc", *SHARED},
    "replication.kubernetes": {"replication.kubernetes", *SHARED},
    "replication.kernel": {
        "replication.kernel",
        "replication.errors",
        "replication.clock",
        "replication.layout",
    },
    "replication.agent": {"replication.agent", "replication.kernel", "replication.rpc", *SHARED},
    "replication.control": BELOW_CONTROL,
    **{part: {*VALUES, *CORE} for part in CORE},
    "replication.preflight": {
        "replication.preflight",
        "replication.errors",
        *LOOKING,
    },
    "replication.cli": {"replication.cli", *BELOW_CONTROL},
    "replication.cli.check": {"replication.cli", "replication.preflight", *LOOKING},
    "csi": {"csi", *BELOW_CONTROL},
    "csi.administration": {"csi", "replication.cli", *BELOW_CONTROL},
    "csi.node": {"csi", "replication.rpc", *SHARED},
    "hack": {"hack", "csi", "replication"},
    "tests": set(PACKAGES),
}
"""What each part may import, the longest name that fits ruling. Every part that there is must be here."""

NEVER_REACHED: dict[str, set[str]] = {
    "replication.agent": {"replication.control", "csi"},
    "replication.control": {"replication.agent", "replication.kernel", "csi"},
    "replication.cli": {"replication.agent", "replication.kernel", "csi"},
    "csi": {"replication.agent", "replication.kernel"},
    "csi.node": {"replication.control"},
}
"""What must not be imported even through others."""

MAY_BE_REACHED = {"replication.cli": {"replication.kernel", *LOOKING}}
"""All the same."""

MODULES = list_modules()


@cache
def list_imports(name: str) -> set[str]:
    """The modules of ours that a module imports, wherever in its text it does."""
    return {target for target in _find_imports(parse(MODULES[name])) if is_under(target, set(PACKAGES))}


def is_under(module: str, prefixes: set[str]) -> bool:
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes)


def find_rule(module: str) -> set[str]:
    fitting = [part for part in ALLOWED if is_under(module, {part})]
    return ALLOWED[max(fitting, key=len)] if fitting else {""}


def reach(start: str) -> set[str]:
    """Every module of ours that is loaded when `start` is."""
    found, ahead = {start}, [start]
    while ahead:
        new = list_imports(ahead.pop()) & MODULES.keys() - found
        found |= new
        ahead.extend(new)
    return found


def _find_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_part_may(module: str) -> None:
    odd = {target for target in list_imports(module) if not is_under(target, find_rule(module))}
    assert odd == set()


@pytest.mark.parametrize("part", NEVER_REACHED)
def test_a_part_never_reaches_the_other_side(part: str) -> None:
    starts = [module for module in MODULES if is_under(module, {part})]
    assert starts
    for start in starts:
        found = {found for found in reach(start) if is_under(found, NEVER_REACHED[part])}
        assert found - MAY_BE_REACHED.get(part, set()) == set(), start


def test_the_rules_name_only_parts_that_exist() -> None:
    assert {part for part in ALLOWED if not any(is_under(module, {part}) for module in MODULES)} == set()


def test_nothing_that_is_shipped_imports_what_is_not() -> None:
    shipped = [module for module in MODULES if is_under(module, {"csi", "replication"})]
    assert {
        name for name in shipped if any(is_under(t, {"hack", "tests"}) for t in list_imports(name))
    } == set()


def test_the_scan_sees_what_is_imported_inside_functions() -> None:
    tree = ast.parse("def f():\n    from replication import pki, errors\n    import replication.clock\n")
    assert set(_find_imports(tree)) == {"replication.pki", "replication.errors", "replication.clock"}


def test_the_longest_rule_that_fits_holds() -> None:
    assert not is_under("replication.control.volumes", find_rule("csi.node"))
    assert is_under("replication.control.volumes", find_rule("csi.controller"))
    assert is_under("replication.model", find_rule("replication.control.insync"))
    assert not is_under("replication.rpc.client", find_rule("replication.control.insync"))
