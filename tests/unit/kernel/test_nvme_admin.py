"""A question to one controller: its bytes, and what an answer is known by."""

import struct
from pathlib import Path

import pytest

from replication.errors import KernelError, NotFound
from replication.kernel.nvme_admin import (
    LENGTHS,
    AdminQueueNode,
    choose_length,
    count_answer_bytes,
    encode,
)


def test_a_question_is_a_passthrough_command_of_the_kernels_form() -> None:
    command = encode(0x1234, 12, 0.2)
    assert len(command) == 72
    assert struct.unpack_from("=BBHI", command) == (0x02, 0, 0, 0xFFFFFFFF)
    address, _, length, ten = struct.unpack_from("=QIII", command, 24)
    assert (address, length, ten & 0xFF, (ten >> 16) + 1) == (0x1234, 12, 3, 12 // 4)
    assert struct.unpack_from("=I", command, 64) == (200,)


def test_no_other_answer_is_as_long() -> None:
    """Others are headers and whole sectors; two questions in a row, or at once, differ."""
    lengths = [choose_length(number) for number in range(LENGTHS)]
    assert len(set(lengths)) == LENGTHS
    assert max(lengths) < 4096
    assert all(length % 4 == 0 and count_answer_bytes(length) % 8 for length in lengths)


def test_a_controller_that_has_gone_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="ask nvme3"):
        AdminQueueNode(str(tmp_path)).ask("nvme3", 4, 0.2)


def test_what_is_no_controller_refuses(tmp_path: Path) -> None:
    (tmp_path / "nvme3").touch()
    with pytest.raises(KernelError, match="ask nvme3"):
        AdminQueueNode(str(tmp_path)).ask("nvme3", 4, 0.2)
