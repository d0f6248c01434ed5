"""What holds up one object only, and what is everybody's."""

import pytest

from csi.operator.refusals import apart
from replication.errors import Conflict, InvalidRequest, TrilithError, Unavailable
from replication.kubernetes.client import Refused


def fail(error: TrilithError) -> None:
    raise error


@pytest.mark.parametrize("error", [InvalidRequest("422"), Conflict("409"), Refused("403")])
def test_a_refusal_is_said_and_the_next_has_its_turn(
    error: TrilithError, caplog: pytest.LogCaptureFixture
) -> None:
    with apart("StorageClass trilith-nvme"):
        fail(error)
    expected = f"StorageClass trilith-nvme is not as it is to be, and is tried again: {error}"
    assert caplog.messages == [expected]


def test_a_server_that_does_not_answer_is_not_asked_again_for_each() -> None:
    with pytest.raises(Unavailable), apart("StorageClass trilith-nvme"):
        raise Unavailable("away")
