from replication.kernel.events import Uevents, parse_uevent


def test_a_uevent_is_parsed() -> None:
    event = parse_uevent(
        b"change@/devices/virtual/block/dm-3\0ACTION=change\0DEVNAME=dm-3\0DM_ACTION=PATH_FAILED\0SEQNUM=1\0"
    )
    assert event is not None
    assert (event.action, event.path) == ("change", "/devices/virtual/block/dm-3")
    assert (event.get("DM_ACTION"), event.get("DEVNAME"), event.get("NOTHING")) == ("PATH_FAILED", "dm-3", "")


def test_what_udev_sends_is_not_the_kernels() -> None:
    assert parse_uevent(b"libudev\0\xfe\xed\xca\xfe") is None


def test_waiting_for_an_event_ends_in_time() -> None:
    with Uevents() as events:
        assert events.fileno() > 0
        assert events.wait(0.01)[1] is False
