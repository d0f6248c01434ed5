"""All mutants: which mistake replaces what, and what has to catch it."""

from tests.mutants import disks, mistakes
from tests.mutants.cluster import CLUSTER
from tests.mutants.mutant import ENUMERATION, SIMULATION, Mutant
from tests.mutants.nodes import NODES

INSYNC = "tests/unit/control/test_insync.py"
FENCING = "tests/unit/control/test_fencing.py"
REBUILD = "tests/unit/control/test_rebuild.py"
RESTORED = "tests/unit/control/test_restored.py"
RECONCILER = "tests/unit/control/test_reconciler.py"
ATTEMPTS = "tests/unit/control/test_attempts.py"
UNHEARD = "tests/unit/control/test_unheard.py"
GROWING = "tests/unit/control/test_growing.py"
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
        "what is known of a record is believed though a report awaits a word",
        "replication.control.reporting:in_trouble",
        mistakes.returns(False),
        ("tests/unit/control/test_known_reports.py",),
    ),
    Mutant(
        "a confirmation of what was reported, not recorded",
        "replication.control.reporting:_word_of",
        mistakes.word_says_what_was_reported,
        (f"{RECONCILER}::test_when_all_are_lost_none_is_dropped",),
    ),
    Mutant(
        "the new size is recorded after the array has it",
        "replication.control.lifecycle:show_growth",
        disks.size_recorded_late,
        (f"{GROWING}::test_a_replica_that_returns_meanwhile_joins_an_array_of_the_new_size",),
    ),
    Mutant(
        "what nobody has marked is forgotten with the growth",
        "replication.control.lifecycle:finish_expand",
        disks.growth_forgotten,
        (
            f"{GROWING}::test_what_is_new_counts_as_marked_also_when_the_growth_was_ended_while_nobody_had_an_array",
        ),
    ),
    Mutant(
        "silent replicas are given up for an attachment that cannot be",
        "replication.control.starting:would_do",
        mistakes.returns(False),
        ("tests/unit/control/test_minimum.py",),
    ),
    Mutant(
        "whoever cannot have a volume yet ends what brings its replicas back",
        "replication.control.volumes:require_enough",
        mistakes.returns(None),
        ("tests/unit/control/test_minimum.py",),
    ),
    Mutant(
        "a replica is given up for others that may have forgotten what it has",
        "replication.control.replacement:_has_booted",
        mistakes.returns(False),
        ("tests/unit/control/test_replacement.py",),
    ),
    Mutant(
        "what an array has not told ends with it",
        "replication.control.detaching:Detaching._follow",
        mistakes.returns(None),
        (
            "tests/unit/control/test_known_reports.py::test_what_nobody_has_heard_of_an_array_is_recorded_before_it_ends",
        ),
    ),
    Mutant(
        "an array that went with a boot counts as ended in peace",
        "replication.control.detaching:Detaching._is_still_in",
        mistakes.returns(True),
        (FENCING,),
    ),
    Mutant(
        "an attachment is undone before it is known that it was not recorded",
        "replication.control.attaching:Attaching.undo",
        disks.undone_unrecorded,
        (f"{UNHEARD}::test_an_attachment_that_is_recorded_is_not_undone_though_nobody_heard_of_it",),
    ),
    Mutant(
        "no fence: who did not answer starts",
        "replication.control.insync:admit",
        mistakes.unprepared_start,
        (ENUMERATION, SIMULATION, INSYNC),
    ),
    Mutant(
        "the consumer's own replica is left behind though all others may lack writes",
        "replication.control.insync:leave_behind",
        mistakes.all_are_sure,
        (ENUMERATION, INSYNC, FENCING),
    ),
    Mutant(
        "who may lack writes answers the fence for sure",
        "replication.control.starting:list_sure",
        mistakes.any_answer_is_sure,
        (ENUMERATION, FENCING),
    ),
    Mutant(
        "the consumer's own replica is never left behind",
        "replication.control.insync:leave_behind",
        mistakes.returns_its_first,
        (INSYNC, FENCING),
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
        "bitmaps are believed beside a copy that makes the array complete",
        "replication.control.insync:start_rebuild",
        disks.bitmaps_kept_at_the_begin,
        (INSYNC,),
    ),
    Mutant(
        "full copy skipped after two failures",
        "replication.control.insync:_dropped",
        mistakes.full_forgotten,
        (INSYNC,),
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
        "who booted starts like the others",
        "replication.control.starting:_doubt",
        mistakes.returns(""),
        (ENUMERATION,),
    ),
    Mutant(
        "who refused a write starts like the others",
        "replication.control.starting:_doubt",
        disks.suspect_ignored,
        (ENUMERATION, SIMULATION),
    ),
    Mutant(
        "who refused a write starts while others are silent",
        "replication.control.starting:_require_nobody_missing",
        mistakes.returns(None),
        (ENUMERATION, "tests/unit/control/test_starting.py"),
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
        "a member that joined by an earlier attempt counts",
        "replication.control.insync:_recovered",
        mistakes.late_attempt_counts,
        ("tests/unit/control/test_insync.py",),
    ),
    Mutant(
        "who may lack writes starts while others are still on their way",
        "replication.control.starting:are_enough",
        mistakes.returns(True),
        ("tests/unit/control/test_starting.py",),
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
        "a report of an agent that has just begun is believed though it may be late",
        "replication.control.restored:_is_heard",
        mistakes.returns(True),
        (RESTORED,),
    ),
    Mutant(
        "a restored record begins an epoch again",
        "replication.control.first_look:find_newer",
        mistakes.returns(""),
        (RESTORED,),
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
    *NODES,
    *CLUSTER,
)
