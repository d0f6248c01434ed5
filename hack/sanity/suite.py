"""csi-sanity against a site: the controller plugin beside the machines, the node plugin of one of them."""

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError
from hack.lab.site import Site
from hack.lab.vm import Machine
from hack.sanity.forward import Forwarder
from hack.sanity.places import Places
from replication.model import MIB

SIZE_BYTES, LARGER_BYTES = 16 * MIB, 32 * MIB
_TIMEOUT = 1800
_REPORT = "report.json"
_KUBELET = "/var/lib/kubelet"
_PASSED = "passed"
_SKIPPED = ("skipped", "pending")  # pending: switched off by the suite itself


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be run."""

    access: str  # mount or block
    replicas: int
    seed: int | None = None  # of a random order; None: the suite's own

    def __str__(self) -> str:
        order = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.access}, replicas {self.replicas}{order}"


@dataclass(frozen=True, slots=True)
class Spec:
    """One of csi-sanity's tests, as it ended."""

    name: str
    state: str  # passed, skipped, failed, …
    seconds: float
    why: str  # what the suite said of a skip or a failure


@dataclass(frozen=True, slots=True)
class Outcome:
    """All specs of one run."""

    wish: Wish
    specs: tuple[Spec, ...]
    seconds: float

    @property
    def passed(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in self.specs if spec.state == _PASSED)

    @property
    def skipped(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in self.specs if spec.state in _SKIPPED)

    @property
    def failed(self) -> tuple[Spec, ...]:
        return tuple(spec for spec in self.specs if spec.state not in (_PASSED, *_SKIPPED))

    def reasons(self) -> Counter[str]:
        """Of the skips, and how many specs each kept from being run."""
        return Counter(spec.why or f"{spec.state} in the suite itself: {spec.name}" for spec in self.skipped)


def run_suite(program: Path, site: Site, machine: Machine, pool: str, wish: Wish) -> Outcome:
    """Raises LabError when the suite could not run. What it prints is in a file among the cluster's logs."""
    with tempfile.TemporaryDirectory(prefix="trilith-sanity-") as name:
        folder = Path(name)
        report = folder / _REPORT
        (folder / "parameters.yaml").write_text(json.dumps(_parameters(pool, wish)))
        with (
            Forwarder(folder / "controller.sock", site.controller_channel()) as controller,
            Forwarder(folder / "node.sock", site.node_plugin_channel(machine)) as node,
            Places(folder, machine) as places,
            (site.cluster.logs / f"csi-sanity-{wish.access}.log").open("wb") as log,
        ):
            argv = [str(program), *_options(folder, "/run/sanity", wish), *_commands(places)]
            argv += [f"--csi.endpoint={node.endpoint}", f"--csi.controllerendpoint={controller.endpoint}"]
            done = subprocess.run(argv, check=False, stdout=log, stderr=log, timeout=_TIMEOUT)
        if not report.exists():
            raise LabError(
                f"csi-sanity ended with status {done.returncode}, and without a report: {log.name}"
            )
        return parse_report(report.read_text(), wish)


def run_inside(
    program: Path,
    machine: Machine,
    sockets: tuple[str, str],
    pool: str,
    wish: Wish,
    more: Mapping[str, str],
) -> Outcome:
    """In a machine that has the sockets of a node and of a controller; `more` are further parameters.

    Raises LabError when the suite could not run.
    """
    folder, mounts, (node, controller) = Path("/run/sanity"), f"{_KUBELET}/sanity", sockets
    machine.succeed(["mkdir", "-p", str(folder), mounts])
    machine.write_file(f"{folder}/parameters.yaml", json.dumps({**_parameters(pool, wish), **more}))
    argv = [str(program), *_options(folder, mounts, wish)]
    argv += [f"--csi.endpoint=unix://{node}", f"--csi.controllerendpoint=unix://{controller}"]
    status, output = machine.execute(argv, timeout=_TIMEOUT)
    try:
        report = machine.read_file(f"{folder}/{_REPORT}").decode()
    except LabError as error:
        raise LabError(f"csi-sanity ended with status {status}, and without a report: {output}") from error
    return parse_report(report, wish)


def _options(folder: Path, mounts: str, wish: Wish) -> list[str]:
    """`folder` has the parameters, and gets the report; `mounts` is where to mount."""
    options = {
        "mountdir": f"{mounts}/target",
        "stagingdir": f"{mounts}/staging",
        "testvolumeaccesstype": wish.access,
        "testvolumesize": str(SIZE_BYTES),
        "testvolumeexpandsize": str(LARGER_BYTES),
        "testvolumeparameters": str(folder / "parameters.yaml"),
    }
    words = [f"--csi.{name}={value}" for name, value in options.items()]
    words += ["--ginkgo.no-color", "--ginkgo.v", f"--ginkgo.json-report={folder / _REPORT}"]
    if wish.seed is not None:
        words += ["--ginkgo.randomize-all", f"--ginkgo.seed={wish.seed}"]
    return words


def _commands(places: Places) -> list[str]:
    """By which it has paths made, removed and looked at elsewhere."""
    made = {f"create{kind}pathcmd": "create" for kind in ("mount", "staging")}
    removed = {f"remove{kind}pathcmd": "remove" for kind in ("mount", "staging")}
    acts = {**made, **removed, "checkpathcmd": "check"}
    words = [f"--csi.{name}={places.command(act)}" for name, act in acts.items()]
    return words + [f"--csi.{act}pathcmdtimeout=60s" for act in ("create", "remove", "check")]


def parse_report(text: str, wish: Wish) -> Outcome:
    """Ginkgo's JSON report (ginkgo/v2/types.Report); times are in nanoseconds."""
    (suite,) = json.loads(text)
    found = [spec for spec in suite["SpecReports"] if spec["LeafNodeType"] == "It"]
    return Outcome(wish, tuple(map(_parse_spec, found)), suite["RunTime"] / 1e9)


def _parameters(pool: str, wish: Wish) -> dict[str, str]:
    return {"pool": pool, "replicas": str(wish.replicas)}


def _parse_spec(spec: dict[str, object]) -> Spec:
    words = [*(spec.get("ContainerHierarchyTexts") or ()), spec["LeafNodeText"]]  # type: ignore[misc]
    failure = spec.get("Failure") or {}
    why = _shorten(str(failure.get("Message", "")))  # type: ignore[attr-defined]
    return Spec(" ".join(map(str, words)), str(spec["State"]), float(str(spec["RunTime"])) / 1e9, why)


def _shorten(message: str) -> str:
    """A line; of Gomega's dump of an error no more than the error's text."""
    text = " ".join(message.split())
    start = text.find("rpc error: ")
    return text[start:].partition(" { ")[0] if start >= 0 else text
