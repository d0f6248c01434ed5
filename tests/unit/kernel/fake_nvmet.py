"""configfs of nvmet as drivers/nvme/target/configfs.c of 6.12 treats it; what we do not use is refused."""

import threading
from pathlib import Path

from tests.unit.kernel.fake_tree import EBUSY, EINVAL, FakeTree, refuse_with

ROOT = "/sys/kernel/config/nvmet"


class FakeNvmet(FakeTree):
    """`drained` is what disabling a namespace waits for."""

    def __init__(self, root: Path, *, authentication: bool = True) -> None:
        super().__init__(root)
        for name in ("hosts", "subsystems", "ports"):
            self.path(f"{ROOT}/{name}").mkdir(parents=True)
        self.authentication = authentication
        self.drained = threading.Event()
        self.drained.set()
        self.log: list[str] = []

    def make_directory(self, name: str) -> None:
        if self.exists(name):
            return
        self.log.append(f"mkdir {self._short(name)}")
        super().make_directory(name)
        kind, *rest = self._short(name).split("/")
        if kind == "hosts" and self.authentication:
            self.lay({f"{name}/dhchap_key": "", f"{name}/dhchap_ctrl_key": ""})
        elif kind == "ports":
            words = ("addr_trtype", "addr_adrfam", "addr_traddr", "addr_trsvcid")
            self.lay({f"{name}/{word}": "" for word in words})
            self.path(f"{name}/subsystems").mkdir()
        elif kind == "subsystems" and len(rest) == 1:
            self.lay({f"{name}/attr_allow_any_host": "0", f"{name}/attr_model": "Linux"})
            self.path(f"{name}/namespaces").mkdir()
            self.path(f"{name}/allowed_hosts").mkdir()
        elif kind == "subsystems":
            uuid = "00000000-0000-0000-0000-000000000000"
            self.lay({f"{name}/device_path": "(null)", f"{name}/device_uuid": uuid})
            self.lay({f"{name}/enable": "0", f"{name}/revalidate_size": ""})

    def _short(self, name: str) -> str:
        return name.removeprefix(f"{ROOT}/")

    def write(self, name: str, value: str | int, *, secret: bool = False) -> None:
        self.log.append(f"{self._short(name)} ← {'a secret' if secret else value}")
        attribute = name.rsplit("/", 1)[1]
        if attribute in ("device_path", "device_uuid") and self._is_enabled(name):
            refuse_with(EBUSY, f"write {name}")
        if (
            attribute == "enable"
            and value == 1
            and self.read(name.replace("enable", "device_path")) == "(null)"
        ):
            refuse_with(EINVAL, f"write {name}")
        if attribute == "addr_traddr" and self.names(name.replace("addr_traddr", "subsystems")):
            refuse_with(EBUSY, f"write {name}")
        super().write(name, value, secret=secret)
        if attribute == "enable" and value == 0:
            self.drained.wait(20)

    def _is_enabled(self, name: str) -> bool:
        return self.read(f"{name.rsplit('/', 1)[0]}/enable") == "1"

    def link(self, name: str, target: str) -> None:
        assert self.exists(target), f"{target} must exist before it is linked"
        self.log.append(f"link {self._short(name)}")
        super().link(name, target)

    def unlink(self, name: str) -> None:
        if self.exists(name):
            self.log.append(f"unlink {self._short(name)}")
        super().unlink(name)

    def remove_directory(self, name: str) -> None:
        if not self.exists(name):
            return
        self.log.append(f"rmdir {self._short(name)}")
        for group in ("namespaces", "allowed_hosts", "subsystems"):
            if self.names(f"{name}/{group}"):
                refuse_with(EBUSY, f"rmdir {name}")
        if self._short(name).startswith("hosts/") and self._is_linked(name.rsplit("/", 1)[1]):
            refuse_with(EBUSY, f"rmdir {name}")
        for path in sorted(self.path(name).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        super().remove_directory(name)

    def _is_linked(self, host: str) -> bool:
        subsystems = self.names(f"{ROOT}/subsystems")
        return any(self.exists(f"{ROOT}/subsystems/{nqn}/allowed_hosts/{host}") for nqn in subsystems)
