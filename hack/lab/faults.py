"""What happens to machines other than losing power: a cut cable, a slow link, a dead disk."""

from typing import Any, Protocol

from hack.lab import network, qemu, qmp
from hack.lab.errors import LabError
from hack.lab.qemu import Hardware


class _Commands(Protocol):
    hardware: Hardware

    def succeed(self, command: str, timeout: float = 60) -> str: ...


class Faults:
    """The failures a machine can be given; mixed into Machine."""

    hardware: Hardware

    def cut(self: _Commands) -> None:
        """The network cable is out, in both directions; commands still get through."""
        network.set_link(_tap(self.hardware), up=False)

    def heal(self: _Commands) -> None:
        """The cable is back."""
        network.set_link(_tap(self.hardware), up=True)

    def delay(self: _Commands, milliseconds: float) -> None:
        """Everything the machine sends leaves that much later; replaces `loss`. 0 ends it."""
        _shape(self, f"delay {milliseconds:g}ms" if milliseconds else "")

    def loss(self: _Commands, percent: float) -> None:
        """That part of what the machine sends is lost; replaces `delay`. 0 ends it."""
        _shape(self, f"loss {percent:g}%" if percent else "")

    def degrade(self: _Commands, milliseconds: float, percent: float) -> None:
        """`delay` and `loss` at once; `delay(0)` ends it."""
        _shape(self, f"delay {milliseconds:g}ms loss {percent:g}%")

    def cut_agent(self: _Commands) -> None:
        """What its agent answers to the control plane does not leave the machine, until `heal_agent`."""
        self.succeed("tc qdisc add dev eth0 clsact")
        reply = f"match ip dst {network.HOST_ADDRESS}/32 match ip sport {network.AGENT_PORT} 0xffff"
        self.succeed(f"tc filter add dev eth0 egress protocol ip u32 {reply} action drop")

    def heal_agent(self: _Commands) -> None:
        """The control plane hears its agent again."""
        self.succeed("tc qdisc del dev eth0 clsact")

    def cut_from(self: _Commands, *addresses: str) -> None:
        """Nothing passes between it and the machines there, in both directions, until `heal_from`."""
        self.succeed("tc qdisc add dev eth0 clsact")
        for address in addresses:
            for way, end in (("egress", "dst"), ("ingress", "src")):
                match = f"match ip {end} {address}/32"
                self.succeed(f"tc filter add dev eth0 {way} protocol ip u32 {match} action drop")

    def heal_from(self: _Commands) -> None:
        """It reaches them again."""
        self.succeed("tc qdisc del dev eth0 clsact")

    def freeze(self: _Commands) -> None:
        """Nothing in it goes on, and nobody is told, until `thaw`; no command gets through."""
        qmp.execute(self.hardware.monitor, "stop", {})

    def thaw(self: _Commands) -> None:
        """It goes on where it was."""
        qmp.execute(self.hardware.monitor, "cont", {})

    def shift_clock(self: _Commands, hours: int) -> None:
        """Its clock of the day jumps, forwards or back."""
        self.succeed(f"date -s '{hours:+d} hours'")

    def disk_path(self: _Commands, index: int = 0) -> str:
        """/dev/nvmeXn1 or /dev/vdX of the machine's disk `index`, found by its serial number."""
        serial = f"{self.hardware.name}-disk{index}"
        where = "/sys/class/nvme/nvme*/serial /sys/block/vd*/serial"
        found = self.succeed(f"grep -slx '{serial} *' {where} | grep .").split("/")
        return f"/dev/{found[4]}n1" if found[2] == "class" else f"/dev/{found[3]}"

    def break_disk(self: _Commands, index: int = 0) -> None:
        """The NVMe disk is pulled out: it vanishes under whoever has it open. A reboot has it back."""
        serial = f"{self.hardware.name}-disk{index}"
        find = f"grep -lx '{serial} *' /sys/class/nvme/nvme*/serial"
        self.succeed(f'echo 1 > "$(dirname "$({find})")/device/remove"')

    def fail_disk_io(self: _Commands, index: int = 0) -> None:
        """The disk stays and answers every read, write and discard with an error, until `heal_disk_io`.

        Flushes succeed: QEMU flushes the disk itself when it is healed, and must be able to.
        """
        kinds = ("read", "write", "write-zeroes", "discard")
        _inject(self.hardware, index, *({"iotype": kind} for kind in kinds))

    def spoil_sector(self: _Commands, sector: int, index: int = 0) -> None:
        """Reads of this sector (512 bytes) fail, until `heal_disk_io`, whatever is written there."""
        _inject(self.hardware, index, {"iotype": "read", "sector": sector})

    def heal_disk_io(self: _Commands, index: int = 0) -> None:
        """The disk works again, with what it had."""
        node = qemu.disk_node(index)
        _point(self.hardware, index, f"{node}-file")
        qmp.execute(self.hardware.monitor, "blockdev-del", {"node-name": f"{node}-errors"})


def _tap(hardware: Hardware) -> str:
    if hardware.tap is None:
        raise LabError(f"{hardware.name} has no network")
    return hardware.tap


def _shape(machine: _Commands, rule: str) -> None:
    # In the guest, because netem is a module that the host's kernel may lack; Debian's kernel has it.
    machine.succeed("tc qdisc del dev eth0 root 2>/dev/null; true")
    if rule:
        machine.succeed(f"tc qdisc add dev eth0 root netem limit 10000 {rule}")


def _inject(hardware: Hardware, index: int, *rules: dict[str, Any]) -> None:
    """Have requests that match one of the rules answered with an error."""
    node = qemu.disk_node(index)
    errors: dict[str, Any] = {
        "driver": "blkdebug",
        "node-name": f"{node}-errors",
        "image": f"{node}-file",
        "inject-error": [{"event": "none", "errno": 5, **rule} for rule in rules],
    }
    qmp.execute(hardware.monitor, "blockdev-add", errors)
    _point(hardware, index, f"{node}-errors")


def _point(hardware: Hardware, index: int, file: str) -> None:
    """Have the disk's format node read and write through the block node `file`."""
    options: dict[str, Any] = {"driver": "raw", "node-name": qemu.disk_node(index), "file": file}
    options["cache"] = {"direct": False, "no-flush": not hardware.volatile}
    options |= {"discard": "unmap", "detect-zeroes": "unmap"}
    qmp.execute(hardware.monitor, "blockdev-reopen", {"options": [options]})
