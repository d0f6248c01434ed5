"""An installation goes on with the records of its own namespace only."""

import pytest

from csi.cluster.main import require_home
from replication.errors import FailedPrecondition


def test_records_of_another_namespace_are_named_with_what_to_do() -> None:
    with pytest.raises(
        FailedPrecondition, match=r"in namespace old, .* this one is in new: install Trilith in old"
    ):
        require_home("old", "new")


def test_those_of_its_own_are_gone_on_with() -> None:
    require_home("trilith", "trilith")
