import socket
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from hack.checker.blocks import BLOCK_BYTES, Block, decode, encode
from hack.checker.collector import Collector, Record, Verdict
from hack.checker.writer import Reporter

blocks = st.builds(Block, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))


@given(blocks)
def test_a_block_reads_back_whole(block: Block) -> None:
    assert len(encode(block)) == BLOCK_BYTES
    assert decode(encode(block)) == block


@given(blocks, st.integers(0, BLOCK_BYTES - 1), st.integers(1, 255))
def test_a_single_changed_byte_is_damage(block: Block, at: int, flip: int) -> None:
    data = bytearray(encode(block))
    data[at] ^= flip
    assert decode(bytes(data)) is None


def record(*lines: str) -> Record:
    made = Record()
    for second, line in enumerate(lines):
        made.take(line, float(second))
    return made


def test_an_acknowledged_write_that_is_gone_is_lost() -> None:
    assert record("I 0 5 1", "A 0 5 1").judge(["5 0 5 0"]).lost


def test_damage_and_a_block_of_another_place_are_lost() -> None:
    verdict = record("I 0 5 1", "A 0 5 1").judge(["5 damaged", "6 0 5 1"])
    assert len(verdict.lost) == 2


def test_a_write_that_was_issued_but_never_acknowledged_may_be_there_or_not() -> None:
    told = record("I 0 5 1", "A 0 5 1", "I 0 5 2")
    assert not told.judge(["5 0 5 1"]).lost
    assert not told.judge(["5 0 5 2"]).lost
    assert told.judge(["5 0 5 4"]).lost


def test_the_word_of_one_write_may_have_died_with_the_machine() -> None:
    told = record("I 0 5 1", "A 0 5 1")
    assert not told.judge(["5 0 5 1", "6 0 6 2"]).lost
    assert told.judge(["7 0 7 3"]).lost
    assert told.judge(["6 1 6 2"]).lost, "another writer's"


def test_of_a_forgetful_disk_only_what_was_called_durable_is_demanded() -> None:
    told = record("I 0 5 1", "D 0 5 1", "I 0 5 2", "A 0 5 2")
    assert told.judge(["5 0 5 1"]).lost
    assert told.judge(["5 0 5 1"], durable_only=True) == Verdict(1, ())
    assert told.judge(["5 0 5 0"], durable_only=True).lost
    assert told.judge(["5 damaged"], durable_only=True).lost


def test_a_snapshot_stays_as_it_was() -> None:
    with Collector("127.0.0.1") as collector:
        collector.record.take("I 0 5 1", 0.0)
        before = collector.snapshot()
        collector.record.take("A 0 5 1", 0.0)
    assert before.judge(["5 0 5 0"]).lost == ()
    assert collector.judge("5 0 5 0").lost


def test_what_was_acknowledged_later_need_not_be_there() -> None:
    before = record("I 0 5 1", "A 0 5 1")
    now = record("I 0 5 1", "A 0 5 1", "I 0 5 2", "A 0 5 2", "I 0 6 3", "A 0 6 3")
    assert now.demanding(before).judge(["5 0 5 1", "6 0 6 0"]) == Verdict(1, ())
    assert now.demanding(before).judge(["5 0 5 0"]).lost
    assert len(now.judge(["5 0 5 1", "6 0 6 0"]).lost) == 2


def test_the_longest_stall_is_between_acknowledgements_only() -> None:
    told = Record()
    for line, now in (("A 0 1 1", 1.0), ("I 0 1 2", 3.0), ("A 0 1 2", 5.5), ("A 0 1 3", 6.0)):
        told.take(line, now)
    assert told.longest_stall == 4.5
    assert told.acknowledged == 3


def test_a_machine_that_is_cut_off_writes_all_the_same() -> None:
    """Its word comes when the cable is back; from one machine to the next it is when we hear them."""
    told = Record()
    for line, now, source in (
        ("A 0 1 1 70.0", 1.0, 1),
        ("A 0 1 2 70.5", 91.0, 1),
        ("A 0 1 3 72.0", 91.0, 1),
    ):
        told.take(line, now, source)
    assert told.longest_stall == 1.5
    told.take("A 0 1 4 5.0", 95.0, 2)
    assert told.longest_stall == 4.0


def test_an_error_is_kept() -> None:
    assert record("E 2 7 5").errors == ["writer 2, block 7: errno 5"]


def test_the_collector_hears_writers_and_ignores_a_line_cut_short() -> None:
    with Collector("127.0.0.1") as collector:
        host, port = collector.endpoint.split(":")
        with socket.create_connection((host, int(port))) as writer:
            writer.sendall(b"I 0 5 1\nA 0 5 1\nI 0 5 2\nA 0 5 2")
        while collector.acknowledged() < 1:
            pass
        assert collector.judge("5 0 5 1").checked == 1
        assert not collector.judge("5 0 5 2").lost
        assert collector.judge("5 0 5 0").lost


def test_what_a_writer_says_last_is_heard_though_its_connection_took_no_more_for_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # else it may grow to tcp_rmem
        reporter = Reporter(f"127.0.0.1:{listener.getsockname()[1]}")
        heard, _ = listener.accept()
        lines = [f"A 0 1 {number} 1.000" for number in range(400_000)]  # more than both ends keep
        for line in lines:
            reporter.send(line)
        with heard, heard.makefile() as said, ThreadPoolExecutor() as pool:
            assert reporter.keeps
            ended = pool.submit(reporter.end)
            assert [said.readline().rstrip() for _ in lines] == lines
            ended.result(60)
            assert not reporter.keeps
