"""How the agent starts: prompt from its first moment on, and helpful to whoever may not be prompt."""

import sys
from types import ModuleType

import pytest

from replication.agent import start
from replication.errors import KernelError


@pytest.mark.parametrize("refused", [True, False])
def test_its_priority_comes_before_its_imports(monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    done: list[str] = []

    def ensure_priority() -> None:
        done.append("priority")
        if refused:
            raise KernelError("not for you")

    class Late(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name == "main":
                done.append("imported")
            return lambda: done.append("served")

    monkeypatch.setattr(start, "ensure_priority", ensure_priority)
    monkeypatch.setitem(sys.modules, "replication.agent.main", Late("main"))
    start.main()
    assert list(dict.fromkeys(done)) == ["priority", "imported", "served"]
