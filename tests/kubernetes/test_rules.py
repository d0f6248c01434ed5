"""The accounts have no right that they do not use: each was used by a test before this one, the last."""

from pathlib import Path

import pytest

from hack.helm.chart import render
from tests.kubernetes.audit import WATCHED, read_lines
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.rights import UPSTREAM, Right, find_used, list_asked, list_rights

UNSEEN = {
    Right(verb, "certificates.k8s.io", "signers", name="trilith.io/agent") for verb in ("approve", "sign")
}
"""Asked by the API server itself, when a request is approved or signed: no request of its own."""


@pytest.mark.parametrize("account", WATCHED)
def test_every_right_is_used(audit: Path, account: str) -> None:
    documents = render("uninstall.removeEverything=true")
    given = list_rights([each for each in documents if each["metadata"]["name"] != UPSTREAM], account)
    assert given
    used = find_used(given, list_asked(read_lines(audit), f"system:serviceaccount:{NAMESPACE}:{account}"))
    assert sorted(given - used - UNSEEN) == []
