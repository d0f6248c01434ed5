"""What the simulated kernel does as real ones do, and the tests on real ones that show it."""

_ARRAYS, _NETWORK, _SIMULATED = (
    f"tests/root/test_{name}.py::test_" for name in ("arrays", "network", "simulated")
)
_HOLD = "tests/lab/hold/test_hold.py::test_"
SHOWN_BY = {
    "the first write to a clean chunk waits for the bits on all members before any data goes out": _SIMULATED
    + "data_goes_out_when_all_members_have_the_bit",
    "bits are cleared when all members are there and nothing is on its way, flushed or not": _ARRAYS
    + "bits_set_at_assembly_stay_until_everybody_has_the_data",
    "an array forgets the bits on its members at assembly, but for those that it is given": _ARRAYS
    + "the_bitmap_is_not_forgotten_when_it_is_carried_over",
    "a resync copies what is marked from the first slot that is not write-mostly": _ARRAYS
    + "a_resync_copies_from_the_lowest_slot_what_the_bits_mark",
    "a resync that has lost its source goes on from another, not always the one that is read": _SIMULATED
    + "a_resync_that_has_lost_its_source_goes_on_from_the_lowest_slot",
    "a lone member forgets that a resync is owed, and keeps its bits": _SIMULATED
    + "a_lone_member_forgets_that_a_resync_is_owed_and_keeps_its_bits",
    "reads go to slot 0 while a resync is owed": _SIMULATED
    + "reads_come_from_the_lowest_slot_while_a_resync_is_owed",
    "a recovering member gets new writes": _SIMULATED + "a_recovering_member_gets_new_writes",
    "a recovery by bitmap copies what is marked and nothing else": _ARRAYS
    + "a_member_comes_back_with_what_the_bitmap_marks_or_with_everything",
    "what waits for a second failure is released with the first, whoever has looked before it": _SIMULATED
    + "what_waits_for_a_second_failure_is_released_with_the_first",
    "md's lock is kept while bits are set, until every member answers or is let go": _ARRAYS
    + "setting_bits_keeps_mds_lock_until_every_member_answers_or_is_let_go",
    "the last member is not failed": _ARRAYS + "the_last_member_is_refused_and_the_array_goes_on",
    "a member that does not answer makes writes wait, with a hold layer under it (`Ways.hold`)": _ARRAYS
    + "writes_with_the_layer_wait_for_the_decision",
    "what a disk refuses passes the hold layer, and may be acknowledged all the same": _HOLD
    + "medium_errors_pass_the_layer_and_still_end_in_equal_members",
    "a fence ends what the target has accepted, because it drains (`Ways.drain`)": _NETWORK
    + "a_fence_waits_for_what_the_disk_has_not_ended",
    "a fenced replica is reached again under a new name only": _NETWORK
    + "a_fenced_replica_returns_under_a_new_name",
}
"""`Ways.orderly` is the one that is assumed and not shown: docs/architecture.md, what it rests on."""
