"""A node's certificate is renewed as long as the node plugin runs."""

import threading
from pathlib import Path

import pytest

from csi.certificates.asking import Asker
from csi.certificates.places import Places
from replication.clock import SystemClock
from replication.kubernetes.access import Access
from replication.kubernetes.client import Client


class Looks(threading.Event):
    """Set after so many waits."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        return self.left < 0


def test_a_folder_that_cannot_be_used_now_ends_no_renewal(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    folder.write_text("a file")
    nobody, looks = Client(Access("http://127.0.0.1:1")), Looks(2)
    asker = Asker(nobody, Places("trilith"), "m1", folder, SystemClock())
    with pytest.raises(NotADirectoryError):
        asker.ensure()
    asker.run(looks)
    nobody.close()
    assert looks.left == -1
