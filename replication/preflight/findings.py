"""What a machine lacks, as a function of what was read of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from replication.kernel.modules import OLDEST, parse_release
from replication.preflight import remedies
from replication.preflight.system import System

MODPROBE = "kmod"  # the package of modprobe


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of one machine."""

    release: str  # of its kernel
    system: System
    modules: tuple[tuple[str, str], ...]  # each that is needed, and why it is not there: empty when it is
    kubelet_modules: tuple[tuple[str, str], ...]  # the same, of those that the kubelet needs
    missing_packages: tuple[tuple[str, tuple[str, ...]], ...]  # each with its programs that are not there
    multipath: str | None  # nvme_core's parameter: Y, N; None: not loaded
    missed_options: tuple[tuple[str, str], ...]  # module and option, of modules that others loaded without it
    io_controller: bool  # of cgroup v2
    tracing: bool  # tracefs can be mounted


class State(StrEnum):
    """How it is with one thing that is needed."""

    OK = "ok"
    WARNING = "warning"  # it works, and something is slow or not bounded
    MISSING = "missing"  # no agent starts


@dataclass(frozen=True, slots=True)
class Finding:
    """About one thing. `remedy` is a command, or what there is instead of one; empty when all is well."""

    what: str
    state: State
    found: str
    remedy: str = ""


def list_findings(facts: Facts) -> tuple[Finding, ...]:
    """In the order in which they are to be put right: a new kernel brings its modules."""
    return (
        _judge_kernel(facts),
        *_judge_modules(facts),
        *_judge_kubelet_modules(facts),
        _judge_multipath(facts),
        *(_judge_option(facts, module, option) for module, option in facts.missed_options),
        *_judge_packages(facts),
        _judge_cgroup(facts),
        _judge_tracing(facts),
    )


def is_ready(findings: tuple[Finding, ...]) -> bool:
    return all(finding.state is not State.MISSING for finding in findings)


def _judge_kernel(facts: Facts) -> Finding:
    oldest = ".".join(map(str, OLDEST))
    if parse_release(facts.release) >= OLDEST:
        return Finding("kernel", State.OK, facts.release)
    found = f"{facts.release}, older than {oldest}"
    return Finding("kernel", State.MISSING, found, remedies.remedy_kernel(facts.system, oldest))


def _judge_modules(facts: Facts) -> tuple[Finding, ...]:
    missing = [name for name, trouble in facts.modules if trouble]
    remedy = _remedy_modules(facts, missing)
    return tuple(
        Finding(f"module {name}", State.MISSING, trouble, remedy)
        if trouble
        else Finding(f"module {name}", State.OK, "there")
        for name, trouble in facts.modules
    )


def _judge_kubelet_modules(facts: Facts) -> tuple[Finding, ...]:
    missing = [name for name, trouble in facts.kubelet_modules if trouble]
    remedy = _remedy_modules(facts, missing)
    return tuple(
        Finding(f"module {name}", State.WARNING, f"no block volumes in Kubernetes: {trouble}", remedy)
        if trouble
        else Finding(f"module {name}", State.OK, "there")
        for name, trouble in facts.kubelet_modules
    )


def _remedy_modules(facts: Facts, missing: Sequence[str]) -> str:
    """Without modprobe nothing is known of them."""
    packages = [package for package, _ in facts.missing_packages]
    if MODPROBE in packages:
        return remedies.remedy_packages(facts.system, packages)
    return remedies.remedy_modules(facts.system, facts.release, missing)


def _judge_multipath(facts: Facts) -> Finding:
    what = "nvme_core.multipath"
    if facts.multipath == "Y":
        return Finding(what, State.OK, "Y")
    if facts.multipath is None:
        return Finding(what, State.OK, "not loaded yet")
    return Finding(what, State.MISSING, facts.multipath, remedies.remedy_multipath(facts.system))


def _judge_option(facts: Facts, module: str, option: str) -> Finding:
    remedy = remedies.remedy_option(facts.system, module, option)
    return Finding(f"option {module} {option}", State.WARNING, "loaded without it: writes are slow", remedy)


def _judge_packages(facts: Facts) -> tuple[Finding, ...]:
    packages = [package for package, _ in facts.missing_packages]
    if not packages:
        return (Finding("programs", State.OK, "there"),)
    remedy = remedies.remedy_packages(facts.system, packages)
    return tuple(
        Finding(f"package {package}", State.MISSING, f"no {', '.join(programs)}", remedy)
        for package, programs in facts.missing_packages
    )


def _judge_cgroup(facts: Facts) -> Finding:
    what = "cgroup v2, io"
    if facts.io_controller:
        return Finding(what, State.OK, "there")
    return Finding(what, State.WARNING, "not there: tiers bound nobody", remedies.remedy_cgroup(facts.system))


def _judge_tracing(facts: Facts) -> Finding:
    if facts.tracing:
        return Finding("tracefs", State.OK, "there")
    return Finding("tracefs", State.WARNING, "not there: what disks refuse is not heard", remedies.TRACING)
