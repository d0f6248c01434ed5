"""Programs of another architecture, run by QEMU's user emulation, unpacked and not installed.

In a user namespace of their own: since Linux 6.7 it has what `binfmt_misc` knows to itself, so nothing is
registered with the machine, and nothing is left however a build ends. Every user is who he was; yet nobody in
there can make devices, and overlayfs may keep its marks in attributes of users only.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from hack.lab import packages

NATIVE = "amd64"
ARCHITECTURES = (NATIVE, "arm64")
"""As Debian and images call them. What is not native is emulated."""

_USERS = "0 0 4294967295"
# The header of an ELF file of 64 bits, little-endian, a program or shared, AArch64; and which of it counts.
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def describe_binaries() -> str:
    """Those of arm64, as `binfmt_misc` wants to be told. F: the emulator is found from within any root."""
    return f":arm64:M::{_MAGIC}:{_MASK}:{_find_emulator()}:FC"


def _find_emulator() -> Path:
    packages.ensure_packages(packages.EMULATION)
    return packages.get_tree(packages.EMULATION) / "usr" / "bin" / "qemu-aarch64-static"


def run(argv: Sequence[str], environment: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """`argv` in such a namespace, as root, which it can only be once users are mapped: it waits for that."""
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", 'echo; read -r _; exec "$@"', "sh", *argv],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            if process.stdout and process.stdout.readline():
                _map_users(process.pid)
            stdout, stderr = process.communicate("\n", timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


def _map_users(process: int) -> None:
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process}/{name}").write_text(_USERS)
