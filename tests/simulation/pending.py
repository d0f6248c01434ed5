"""Whether an agent lets go what waits in md: the product's own look at members that are said to be there."""

from replication.errors import KernelError
from replication.kernel.md_members import release_pending
from replication.kernel.md_state import array_path
from replication.kernel.sysfs import Tree

_NAME = "v0"


class _Members(Tree):
    """Their attributes, and whether `active` was written."""

    def __init__(self, members: frozenset[str], failed: frozenset[str]) -> None:
        super().__init__()
        self._states = {each: "faulty,blocked" if each in failed else "in_sync" for each in members}
        self.active = False

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(f"dev-{each}" for each in sorted(self._states))

    def read(self, name: str) -> str:
        of, _, attribute = name.rpartition("/")
        member = of.rpartition("dev-")[2]
        return {"state": self._states[member], "slot": member, "errors": "0", "size": "0"}[attribute]

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        member = name.removesuffix("/state").rpartition("dev-")[2]
        if (name, value) == (f"{array_path(_NAME)}/array_state", "active"):
            self.active = True
        elif value == "-blocked" and member in self._states:
            self._states[member] = self._states[member].removesuffix(",blocked")
        else:
            raise KernelError(f"nobody has to write {value!r} to {name}")


def lets_go(members: frozenset[str], failed: frozenset[str], dropped: frozenset[str]) -> bool:
    """`failed` as md says, `dropped` as the agent knows, of the kernel names in `members`."""
    tree = _Members(members, failed)
    release_pending(tree, _NAME, dropped)
    return tree.active
