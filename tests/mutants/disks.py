"""Mistakes about disks that refuse writes."""

from dataclasses import replace

from replication.agent.replicas import Replicas
from replication.model import Prepared, PrepareSpec
from tests.mutants.mistakes import Function


def refusals_unheard(_: Function) -> Function:
    """What a disk refuses is not looked for when its replica is made ready."""
    return lambda *_: False


def made_good_by_attaching(original: Function) -> Function:
    """Any preparation ends the mark of a disk that refused writes."""

    def prepare(self: Replicas, spec: PrepareSpec) -> Prepared:
        return original(self, replace(spec, full_copy=True))  # type: ignore[no-any-return]

    return prepare
