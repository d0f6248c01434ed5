"""Mutants of what agents do on their nodes, and of how they speak to the kernel."""

from contextlib import nullcontext

from replication.agent.wiping import Cut
from replication.peer import PeerState
from tests.mutants import disks, mistakes
from tests.mutants.mutant import ENUMERATION, SIMULATION, Mutant

MD = "tests/unit/kernel/test_md.py"
MD_GROWING = "tests/unit/kernel/test_md_growing.py"
NVMET = "tests/unit/kernel/test_nvmet.py"
AGENT = "tests/unit/agent"

NODES = (
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
        "a member by an earlier attempt stays",
        "replication.agent.release:_is_older",
        mistakes.returns(False),
        (f"{AGENT}/test_release.py",),
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
        "what a disk refused is not looked for",
        "replication.agent.suspects:Suspects.has",
        disks.refusals_unheard,
        (f"{AGENT}/test_suspects.py",),
    ),
    Mutant(
        "a suspect replica is made good by attaching",
        "replication.agent.replicas:Replicas.prepare",
        disks.made_good_by_attaching,
        (f"{AGENT}/test_suspects.py",),
    ),
    Mutant(
        "the header's epoch is not checked",
        "replication.agent.replicas:Replicas._check_epoch",
        mistakes.returns(None),
        (f"{AGENT}/test_fencing.py",),
    ),
    Mutant(
        "returning member's own bits left out",
        "replication.agent.rejoin:_read_bits",
        mistakes.returns(()),
        (f"{AGENT}/test_rejoining.py",),
    ),
    Mutant(
        "what an agent was about to bring back when it died is taken for a member",
        "replication.agent.rejoin:is_unfinished",
        mistakes.returns(False),
        (f"{AGENT}/test_cut_short.py",),
    ),
    Mutant(
        "a hold layer that an agent left half made stays",
        "replication.agent.members:Members.remove_unfinished",
        mistakes.returns(None),
        (f"{AGENT}/test_reading_back.py",),
    ),
    Mutant(
        "what disks mark is forgotten with an array that was not activated",
        "replication.kernel.md:_keep_bits",
        mistakes.returns(None),
        (f"{AGENT}/test_cut_short_attaching.py",),
    ),
    Mutant(
        "a hold layer that an agent left asleep sleeps on",
        "replication.kernel.hold:HoldLayer.ensure_running",
        mistakes.returns(None),
        (f"{AGENT}/test_reading_back.py",),
    ),
    Mutant(
        "a member is dropped by half when the agent that did it dies",
        "replication.agent.node:finish_dropping",
        mistakes.returns(None),
        (f"{AGENT}/test_reading_back.py",),
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
        "bitmap not carried over at assembly",
        "replication.kernel.md:_set_bits",
        mistakes.returns(None),
        (f"{MD}::test_nothing_can_be_written_before_the_bits_are_set",),
    ),
    Mutant(
        "what has grown is marked in memory alone",
        "replication.kernel.md:_mark_owed",
        mistakes.returns(None),
        (f"{MD_GROWING}::test_what_has_grown_is_marked_on_the_disks_before_it_is_written_to_or_resynced",),
    ),
    Mutant(
        "writes go on before what has grown is marked",
        "replication.kernel.md:let_writes_go_on",
        disks.let_go_unmarked,
        (
            f"{MD_GROWING}::test_what_has_grown_is_marked_on_the_disks_before_it_is_written_to_or_resynced",
            f"{MD_GROWING}::test_writes_go_on_that_were_kept_waiting_by_who_has_died",
        ),
    ),
    Mutant(
        "size and slots change under writes",
        "replication.kernel.md:_without_writes",
        mistakes.returns(nullcontext()),
        (
            f"{MD_GROWING}::test_growing_sets_every_member_before_the_array",
            f"{MD_GROWING}::test_other_slots_are_given_while_no_write_is_under_way",
        ),
    ),
    Mutant(
        "what an array before may not have marked is not marked by the next",
        "replication.agent.attachment:list_marked",
        mistakes.returns(()),
        (f"{AGENT}/test_choices.py",),
    ),
    Mutant(
        "size and slots change while a member is lost",
        "replication.agent.release:list_lost",
        mistakes.returns(()),
        (
            f"{AGENT}/test_reshaping.py::test_an_array_does_not_grow_while_a_member_is_lost",
            f"{AGENT}/test_reshaping.py::test_slots_stay_as_they_are_while_a_member_is_lost",
        ),
    ),
    Mutant(
        "a dropped member takes its node's other connections with it",
        "replication.agent.release:_break_alone",
        mistakes.returns(False),
        (f"{AGENT}/test_reading_back.py",),
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
        "a disk is given back with replicas on it",
        "replication.agent.books:Books.require_no_replicas",
        mistakes.returns(None),
        (f"{AGENT}/test_disk_removal.py",),
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
)
