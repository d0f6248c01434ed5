"""mount(8), umount(8) and blockdev(8) over a mountinfo of their own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from replication.errors import CommandFailed
from replication.kernel.run import NOTHING
from tests.unit.kernel.fake_tree import FakeTree

INFO = "/proc/self/mountinfo"


class FakeMounts(FakeTree):
    """Two devices. What is written below a mount lands in the directory under it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.lay(
            {INFO: "32 1 0:27 / / rw,relatime - overlay root rw\n33 32 0:6 / /dev rw - devtmpfs udev rw"}
        )
        self.add_block_device("md_v1", "9:127", 1 << 30, ro="0")
        self.add_block_device("md_v2", "9:126", 1 << 30, ro="0")
        self.busy: set[str] = set()
        self.refusal = ""  # what mount(8) says instead of mounting
        self.calls: list[tuple[str, ...]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> str:
        self.calls.append(tuple(argv))
        if argv[0] == "blockdev":
            self.put(f"/sys/class/block/{Path(argv[-1]).name}/ro", "1" if "--setro" in argv else "0")
            return ""
        lines = self.read(INFO).splitlines()
        if argv[0] == "umount":
            self._unmount(argv, lines)
        elif argv[1] == "--bind":
            lines.append(_bind(argv[-2], argv[-1], lines, "ro" if "ro" in argv else "rw"))
        else:
            lines.append(self._mount(argv))
        self.put(INFO, "\n".join(lines))
        return ""

    def _mount(self, argv: Sequence[str]) -> str:
        assert argv[:2] == ("mount", "-t"), argv
        if self.refusal:
            raise CommandFailed(argv, 32, self.refusal)
        options = argv[4].split(",") if argv[3] == "-o" else []
        word = "ro" if "ro" in options else "rw"
        shown = ",".join([word, "relatime", *(option for option in options if option.startswith("no"))])
        return f"49 32 {self.numbers[argv[-2]]} / {argv[-1]} {shown} - {argv[2]} {argv[-2]} {word}"

    def _unmount(self, argv: Sequence[str], lines: list[str]) -> None:
        if argv[-1] in self.busy and "-l" not in argv:
            raise CommandFailed(argv, 32, f"umount: {argv[-1]}: target is busy.")
        index = max(number for number, line in enumerate(lines) if line.split()[4] == argv[-1])
        del lines[index]


def _bind(source: str, path: str, lines: list[str], word: str) -> str:
    holding = [line for line in lines if f"{source}/".startswith(f"{line.split()[4].rstrip('/')}/")]
    found = max(holding, key=lambda line: len(line.split()[4]))
    *_, number, root, point = found.split()[:5]
    shown = "/" + "/".join(part.strip("/") for part in (root, source.removeprefix(point)) if part.strip("/"))
    flag = "ro" if "ro" in (word, found.split()[5].split(",")[0]) else "rw"
    return f"50 32 {number} {shown} {path} {flag} - {found.split(' - ')[1]}"
