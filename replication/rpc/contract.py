"""What a node can be told and asked: implemented by the agent, the client that reaches it, and the fakes.

Every act can be repeated with the same arguments. Errors are those of replication/errors.py, on both sides of
the wire. An act that names an epoch older than the one in the replica's header raises StaleEpoch.
"""

from collections.abc import Iterator
from typing import Protocol

from replication.model import (
    Ailment,
    ArrayReport,
    AttachSpec,
    Confirmation,
    Limits,
    NodeFacts,
    Prepared,
    PrepareSpec,
    PublishSpec,
    RejoinSpec,
    ReplicaFacts,
    ReplicaSpec,
    StageSpec,
    VolumeGroup,
)
from replication.peer import Peer, PeerVerdict
from replication.traces import Trace
from replication.tuning import Tuning
from replication.usage import VolumeUsage


class Reports(Protocol):
    """The reports of one listener, until it or somebody else closes them."""

    def __iter__(self) -> Iterator[ArrayReport]: ...

    def __next__(self) -> ArrayReport: ...

    def close(self) -> None:
        """End the iteration, also one that waits in another thread: the server knows when a listener is gone.

        A generator cannot do that, because it refuses to be closed while it runs.
        """


class NodeApi(Protocol):
    """One node of the cluster."""

    def describe(self, only: str | None = None) -> NodeFacts:
        """With `only`, a volume's id or "": no replicas, and no arrays but that volume's.

        For whoever asks often: the whole grows with the number of volumes. An older agent tells it all.
        """

    def ensure_disk_pool(self, pool: str, disks: tuple[str, ...]) -> tuple[VolumeGroup, ...]:
        """One volume group on each device of `disks`; FailedPrecondition says why one is not usable."""

    def remove_disk_pool(self, pool: str) -> None:
        """FailedPrecondition while replicas are left in it."""

    def remove_disk(self, volume_group: str) -> None:
        """The disk is of no pool, and has no signature; one that is away or dead is forgotten.

        FailedPrecondition while replicas are left on one that lives, also parts of some.
        """

    def ensure_replica(self, spec: ReplicaSpec) -> ReplicaFacts:
        """A logical volume of zeroes with a header. OutOfSpace when it does not fit.

        Waits for old bytes to be wiped; Unavailable, saying how many and where, when it takes too long.
        """

    def remove_replica(self, volume_id: str, replica_id: str, known_version: int | None = None) -> None:
        """Exports and header; its place is wiped later.

        FailedPrecondition while an array of this node uses it. StaleEpoch when its header has seen a record
        newer than `known_version`: who decided on an older one may have slept since. None: whatever it saw.
        """

    def resize_replica(self, volume_id: str, replica_id: str, size_bytes: int) -> ReplicaFacts:
        """Never smaller. What is exported of it grows too. No room: as `ensure_replica`."""

    def prepare_replica(self, spec: PrepareSpec) -> Prepared:
        """The fence: when it returns, no command of an older epoch can reach this replica any more.

        FailedPrecondition while an array of an older epoch on this very node still holds it. DataLoss when
        its header is older than `marked`.
        """

    def release_replica(self, volume_id: str, replica_id: str, epoch: int) -> None:
        """End the exports of `epoch` and older; the header keeps its epoch."""

    def attach(self, spec: AttachSpec) -> str:
        """Assemble, and return the device's path. Repeated for the same epoch: the device that is there.

        Unavailable when its agent has begun anew since the local replica was made ready: it may have booted.
        """

    def detach(self, volume_id: str, epoch: int) -> None:
        """Flush, stop and disconnect arrays of `epoch` and older. FailedPrecondition while in use."""

    def abandon(self, volume_id: str, epoch: int) -> None:
        """End what is left of arrays of `epoch` and older, which the record has superseded.

        What they still hold is failed, never acknowledged; mounts go; the device may linger while it is open.
        """

    def confirm(self, confirmation: Confirmation) -> ArrayReport:
        """Drop the lost members that the record no longer counts, and let the waiting writes go."""

    def rejoin(self, spec: RejoinSpec) -> None:
        """Bring a dropped or new member back and start its recovery; the end of it shows in the reports."""

    def tune(self, volume_id: str, epoch: int, tuning: Tuning) -> None:
        """Change a running array. What does not fit now (fewer slots than members) is done by a repeat."""

    def scrub(self, volume_id: str, epoch: int, repair: bool) -> None:
        """Begin to compare all members, or to make them equal to the first; the end shows in the reports.

        FailedPrecondition while something is being copied.
        """

    def set_limits(self, volume_id: str, epoch: int, limits: Limits) -> None:
        """Bound what this node's workloads do to the volume; all numbers are meant, 0 is no bound.

        Unsupported where there is no cgroup above all workloads.
        """

    def grow_array(self, volume_id: str, epoch: int, size_bytes: int) -> None:
        """The members have grown already. What is mounted from it grows too."""

    def watch(self) -> Reports:
        """All arrays at once when opened, then each at every change, and every second while in trouble."""

    def stage(self, spec: StageSpec) -> None:
        """NotFound when the volume has no array here; AlreadyExists when it is staged there differently.

        DataLoss, with the command to run, when its file system has to be repaired by hand.
        """

    def unstage(self, volume_id: str, path: str) -> None:
        """FailedPrecondition while it is in use. Nothing to do for what is no longer there."""

    def publish(self, spec: PublishSpec) -> None:
        """FailedPrecondition when it is not staged; AlreadyExists when `path` shows something else."""

    def unpublish(self, volume_id: str, path: str) -> None:
        """As `unstage`."""

    def measure(self, volume_id: str, path: str) -> VolumeUsage:
        """NotFound unless the volume is staged or published at `path`."""

    def expand_staged(self, volume_id: str, path: str, size_bytes: int) -> int:
        """Let the file system at `path` fill its device, and return the device's size.

        NotFound unless the volume is there; OutOfRange when the device has not `size_bytes`.
        """

    def examine_volume(self, volume_id: str, paths: tuple[str, ...]) -> tuple[Ailment, ...]:
        """What is wrong with it here, and at the paths where it should be staged or published.

        NotFound when it has no array here.
        """

    def examine_storage(self) -> tuple[Ailment, ...]:
        """What is wrong with this node's disks, and with its way to those of others."""

    def probe(self, peers: tuple[Peer, ...]) -> tuple[PeerVerdict, ...]:
        """Which of these machines answer, asked now, in a second or two; it need not be their agents."""

    def list_traces(self) -> tuple[Trace, ...]:
        """All that volumes have left here, whoever made it, looked for anew."""

    def remove_trace(self, trace: Trace) -> None:
        """Just this. FailedPrecondition when something stands on it or has it open."""
