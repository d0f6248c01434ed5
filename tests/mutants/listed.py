"""All mutants: which mistake replaces what, and what has to catch it."""

from replication.agent.wiping import Cut
from replication.peer import PeerState
from tests.mutants import mistakes
from tests.mutants.cluster import CLUSTER
from tests.mutants.mutant import ENUMERATION, SIMULATION, Mutant

INSYNC = "tests/unit/control/test_insync.py"
REBUILD = "tests/unit/control/test_rebuild.py"
RESTORED = "tests/unit/control/test_restored.py"
RECONCILER = "tests/unit/control/test_reconciler.py"
MD = "tests/unit/kernel/test_md.py"
NVMET = "tests/unit/kernel/test_nvmet.py"
AGENT = "tests/unit/agent"
ATTEMPTS = "tests/unit/control/test_attempts.py"
TURNS = "tests/unit/control/test_turns.py::test_upkeep_begins_though_a_fence_is_told_again"

MUTANTS = (
    Mutant(
        "release before record",
        "replication.control.reporting:Reporting.handle",
        mistakes.released_before_record,
        (
            SIMULATION,
            f"{RECONCILER}::test_nothing_is_confirmed_that_is_not_recorded",
        ),
    ),
    Mutant(
        "a confirmation of what was reported, not recorded",
        "replication.control.reporting:_word_of",
        mistakes.word_says_what_was_reported,
        (f"{RECONCILER}::test_when_all_are_lost_none_is_dropped",),
    ),
    Mutant(
        "a member failed before the record",
        "replication.agent.release:is_dropped_by",
        mistakes.drops_what_is_lost,
        (ENUMERATION, SIMULATION, f"{AGENT}/test_release.py"),
    ),
    Mutant(
        "two members failed, one looked at",
        "replication.kernel.md_members:release_pending",
        mistakes.released_without_looking,
        (f"{MD}::test_a_second_failure_is_not_released_with_the_first",),
    ),
    Mutant(
        "confirmation of an older report",
        "replication.agent.release:is_dropped_by",
        mistakes.late_word_drops,
        (f"{AGENT}/test_release.py",),
    ),
    Mutant(
        "confirmation of an older record version",
        "replication.agent.node:Agent.confirm",
        mistakes.any_version_obeyed,
        (f"{AGENT}/test_words.py",),
    ),
    Mutant(
        "a member that healed too late stays",
        "replication.agent.release:is_dropped_by",
        mistakes.healed_too_late_stays,
        (f"{AGENT}/test_release.py",),
    ),
    Mutant(
        "no fence: who did not answer starts",
        "replication.control.insync:admit",
        mistakes.unprepared_start,
        (ENUMERATION, SIMULATION, INSYNC),
    ),
    Mutant(
        "no fence: old exports stay",
        "replication.agent.replicas:Replicas._fence",
        mistakes.returns(None),
        (f"{AGENT}/test_fencing.py",),
    ),
    Mutant(
        "fence without drain",
        "replication.kernel.nvmet:Nvmet._end_namespace",
        mistakes.no_drain,
        (f"{NVMET}::test_a_disk_that_does_not_drain_is_not_fenced_however_often_one_asks",),
    ),
    Mutant(
        "fence after attach",
        "replication.agent.replicas:Replicas.prepare",
        mistakes.export_before_fence,
        (f"{AGENT}/test_fencing.py",),
    ),
    Mutant(
        "the header's epoch is not checked",
        "replication.agent.replicas:Replicas._check_epoch",
        mistakes.returns(None),
        (f"{AGENT}/test_fencing.py",),
    ),
    Mutant(
        "old consumer's own disk joined unconfirmed",
        "replication.control.insync:fence",
        mistakes.own_disk_kept,
        (ENUMERATION, INSYNC),
    ),
    Mutant(
        "returning member's own bits left out",
        "replication.agent.rejoin:_read_bits",
        mistakes.returns(()),
        (f"{AGENT}/test_rejoining.py",),
    ),
    Mutant(
        "a member that is lost before anybody watches it is waited for",
        "replication.agent.unwatched:Unwatched._break_all_off",
        mistakes.returns(None),
        (f"{AGENT}/test_unwatched.py",),
    ),
    Mutant(
        "returning member in the lowest slot",
        "replication.agent.rejoin:choose_slot",
        mistakes.returns(0),
        (f"{AGENT}/test_choices.py",),
    ),
    Mutant(
        "the local member first while a resync is owed from another",
        "replication.agent.attachment:choose_members",
        mistakes.resync_from_the_local,
        (ENUMERATION,),
    ),
    Mutant(
        "md's in_sync believed before the recovery",
        "replication.agent.judge:judge",
        mistakes.in_sync_believed,
        (ENUMERATION, SIMULATION, f"{AGENT}/test_judge.py"),
    ),
    Mutant(
        "an export that survives a boot",
        "replication.agent.names:ExportName.__str__",
        mistakes.boot_not_in_name,
        (ENUMERATION, f"{AGENT}/test_names.py"),
    ),
    Mutant(
        "an export that keeps its name when it is made anew",
        "replication.agent.names:ExportName.__str__",
        mistakes.version_not_in_name,
        (f"{AGENT}/test_names.py",),
    ),
    Mutant(
        "in_sync before the recovery ends",
        "replication.control.insync:react",
        mistakes.recovering_counts,
        (ENUMERATION, SIMULATION),
    ),
    Mutant(
        "a recovery of an earlier attempt counts",
        "replication.control.insync:_recovered",
        mistakes.any_attempt_counts,
        (ENUMERATION, INSYNC, RECONCILER),
    ),
    Mutant(
        "full copy skipped after two failures",
        "replication.control.insync:_dropped",
        mistakes.full_forgotten,
        (INSYNC,),
    ),
    Mutant(
        "bitmap not carried over at assembly",
        "replication.kernel.md:_set_bits",
        mistakes.returns(None),
        (f"{MD}::test_nothing_can_be_written_before_the_bits_are_set",),
    ),
    Mutant(
        "what has grown is marked in memory alone",
        "replication.kernel.md:_mark_owed",
        mistakes.returns(None),
        (f"{MD}::test_what_has_grown_is_marked_on_the_disks_before_the_resync_of_it_begins",),
    ),
    Mutant(
        "no bitmap carried over",
        "replication.kernel.bitmap:unite",
        mistakes.returns(()),
        (ENUMERATION, SIMULATION),
    ),
    Mutant(
        "one member's bitmap carried over",
        "replication.kernel.bitmap:unite",
        mistakes.first_bitmap_only,
        ("tests/unit/kernel/test_bitmap.py",),
    ),
    Mutant(
        "bitmap trusted after it was cleared with the replica elsewhere",
        "replication.control.insync:_settled",
        mistakes.cleared_bitmap_trusted,
        (INSYNC,),
    ),
    Mutant(
        "a boot does not matter to a volatile cache",
        "replication.control.rebuild:choose_copy",
        mistakes.boot_ignored,
        (ENUMERATION, REBUILD),
    ),
    Mutant(
        "an old copy of a disk is brought back by bitmap",
        "replication.control.rebuild:is_old",
        mistakes.returns(False),
        ("tests/unit/control/test_old_disks.py",),
    ),
    Mutant(
        "an old copy of a disk is made ready",
        "replication.agent.replicas:Replicas._check_age",
        mistakes.returns(None),
        (f"{AGENT}/test_replicas.py",),
    ),
    Mutant(
        "the place of a replica that was used is free at once",
        "replication.agent.storage:Storage.discard_volume",
        mistakes.removed_unwiped,
        (f"{AGENT}/test_storage.py",),
    ),
    Mutant(
        "a replica is put together though a part is missing",
        "replication.agent.books:is_whole",
        mistakes.returns(True),
        (f"{AGENT}/test_parts.py",),
    ),
    Mutant(
        "a part is not asked which one it is",
        "replication.agent.headers:_get_stamp",
        mistakes.returns_its_second,
        (f"{AGENT}/test_headers.py",),
    ),
    Mutant(
        "whatever a device is made of is taken for its parts",
        "replication.kernel.wholes:is_beginning",
        mistakes.returns(True),
        ("tests/unit/kernel/test_wholes.py",),
    ),
    Mutant(
        "a new disk counts as wiped",
        "replication.agent.storage:Storage.doubt_free_space",
        mistakes.believed_wiped,
        (f"{AGENT}/test_storage.py",),
    ),
    Mutant(
        "free before it is wiped",
        "replication.agent.wiping:choose_step",
        mistakes.returns(Cut(0)),
        (f"{AGENT}/test_wiping.py",),
    ),
    Mutant(
        "a replica without a header holds zeroes",
        "replication.agent.replicas:Replicas._is_untouched",
        mistakes.returns(True),
        (f"{AGENT}/test_replicas.py",),
    ),
    Mutant(
        "any flush counts",
        "replication.agent.flush:bitmap_covers",
        mistakes.returns(True),
        (ENUMERATION, f"{AGENT}/test_release.py"),
    ),
    Mutant(
        "who booted starts like the others",
        "replication.control.starting:_doubt",
        mistakes.returns(""),
        (ENUMERATION,),
    ),
    Mutant(
        "last replica recorded stale",
        "replication.control.insync:lose",
        mistakes.last_replica_stale,
        (ENUMERATION, SIMULATION, INSYNC),
    ),
    Mutant(
        "stale replica chosen as source",
        "replication.control.insync:_with_source",
        mistakes.stale_source,
        (ENUMERATION, SIMULATION, INSYNC),
    ),
    Mutant(
        "the source follows the consumer",
        "replication.control.insync:_with_source",
        mistakes.source_follows_consumer,
        (ENUMERATION, INSYNC),
    ),
    Mutant(
        "stale members start",
        "replication.control.starting:order_members",
        mistakes.stale_members_start,
        ("tests/unit/control/test_starting.py",),
    ),
    Mutant(
        "no resync is owed after the fence",
        "replication.control.insync:fence",
        mistakes.no_resync,
        (ENUMERATION, INSYNC),
    ),
    Mutant(
        "no resync is owed after a crash",
        "replication.control.insync:begin_attach",
        mistakes.no_resync,
        (ENUMERATION, SIMULATION, INSYNC),
    ),
    Mutant(
        "record not compared",
        "replication.control.store.memory:_require_version",
        mistakes.returns(None),
        (ENUMERATION, "tests/unit/control/test_stores.py"),
    ),
    Mutant(
        "epoch reused",
        "replication.control.insync:begin_attach",
        mistakes.epoch_reused,
        (ENUMERATION, INSYNC),
    ),
    Mutant(
        "reports of an older epoch are taken",
        "replication.control.insync:_require_epoch",
        mistakes.returns(None),
        (INSYNC,),
    ),
    Mutant(
        "an array that was given up is never abandoned",
        "replication.control.rebuild:is_current",
        mistakes.returns(True),
        (REBUILD,),
    ),
    Mutant(
        "an array that no record knows is ended",
        "replication.control.repair:Repair._require_deleted",
        mistakes.returns(None),
        (RESTORED,),
    ),
    Mutant(
        "a restored record is believed against its array",
        "replication.control.restored:_is_heard",
        mistakes.returns(False),
        (RESTORED,),
    ),
    Mutant(
        "a restored record begins an epoch again",
        "replication.control.first_look:find_newer",
        mistakes.returns(""),
        (RESTORED,),
    ),
    Mutant(
        "a replica removed for an older record",
        "replication.agent.replicas:Replicas._check_known",
        mistakes.returns(None),
        (f"{AGENT}/test_replicas.py",),
    ),
    Mutant(
        "no hold layer",
        "replication.kernel.hold:_target",
        mistakes.never_queues,
        ("tests/unit/kernel/test_dm.py",),
    ),
    Mutant(
        "silence of a machine that nobody has ever heard",
        "replication.agent.peers:Peers._judge",
        mistakes.returns(PeerState.SILENT),
        (f"{AGENT}/test_peers.py",),
    ),
    Mutant(
        "a late prepare ends the export of the attempt after it",
        "replication.agent.replicas:Replicas._check_news",
        mistakes.returns(None),
        (f"{AGENT}/test_fencing.py",),
    ),
    Mutant(
        "a member by another attempt is taken for this one's",
        "replication.agent.rejoin:_require_same",
        mistakes.returns(None),
        (f"{AGENT}/test_rejoining.py",),
    ),
    Mutant(
        "a rejoin that was decided before the newest word",
        "replication.agent.rejoin:_require_news",
        mistakes.returns(None),
        (f"{AGENT}/test_rejoining.py",),
    ),
    Mutant(
        "an attempt begun while another is under way",
        "replication.control.repair:Repair._look_again",
        mistakes.looks_once,
        (ATTEMPTS,),
    ),
    Mutant(
        "an attempt that the record has given up is kept",
        "replication.control.reporting:_awaits",
        mistakes.given_up_kept,
        (f"{RECONCILER}::test_a_recovery_that_the_record_gave_up_is_dropped_and_begun_anew",),
    ),
    Mutant(
        "ended and removed by a list of records that is behind",
        "replication.control.repair:Repair._find",
        mistakes.returns(None),
        ("tests/unit/control/test_behind.py",),
    ),
    Mutant(
        "nobody waits for his turn behind a rebuild",
        "replication.control.records:Records.lock",
        mistakes.impatient,
        (TURNS,),
    ),
    *CLUSTER,
)
