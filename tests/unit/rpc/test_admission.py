"""Who may call what."""

import pytest

from replication.errors import Unauthenticated
from replication.pki import Holder, Role
from replication.rpc.server import OPEN_TO_OWN_NODE, admit
from tests.unit.rpc.shapes import SERVICE

OWNER = Holder(Role.NODE, "a")
METHODS = [method.name for method in SERVICE.methods]


@pytest.mark.parametrize("method", METHODS)
def test_the_control_plane_may_call_everything(method: str) -> None:
    admit(Holder(Role.CONTROL, "main"), method, OWNER)


@pytest.mark.parametrize("method", METHODS)
def test_the_node_itself_may_call_what_its_mounts_need_and_no_more(method: str) -> None:
    if method in OPEN_TO_OWN_NODE:
        admit(OWNER, method, OWNER)
        return
    with pytest.raises(Unauthenticated, match=f"node:a may not call {method}"):
        admit(OWNER, method, OWNER)


@pytest.mark.parametrize("method", METHODS)
def test_another_node_may_call_nothing(method: str) -> None:
    with pytest.raises(Unauthenticated, match="node:b may not call node:a"):
        admit(Holder(Role.NODE, "b"), method, OWNER)


def test_what_is_open_to_the_node_exists() -> None:
    assert OPEN_TO_OWN_NODE.issubset(METHODS)
