from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hack.lab.qemu import Hardware, qemu_argv

_MACHINE = Hardware(
    name="m2",
    index=2,
    accelerator="tcg",
    cpus=2,
    memory_mib=900,
    kernel=Path("/cache/vmlinuz"),
    initramfs=Path("/run/initramfs"),
    disks=(Path("/run/a"), Path("/run/b")),
    tap="tap2",
    folder=Path("/run"),
    console=Path("/logs/m2.console"),
    tools=Path("/cache/tools"),
)


def _values(argv: list[str], option: str) -> list[str]:
    return [value for word, value in pairwise(argv) if word == option]


def test_disks_have_serial_numbers_by_which_a_guest_finds_them() -> None:
    devices = _values(qemu_argv(_MACHINE), "-device")
    assert [d for d in devices if d.startswith("nvme")] == [
        "nvme,drive=disk0,serial=m2-disk0",
        "nvme,drive=disk1,serial=m2-disk1",
    ]


def test_disks_are_sparse_and_discard() -> None:
    nodes = _values(qemu_argv(_MACHINE), "-blockdev")
    assert len(nodes) == 4
    assert all("discard=unmap,detect-zeroes=unmap" in node for node in nodes)


def test_volatile_disks_are_told_to_flush_and_others_need_not_be() -> None:
    for volatile, flushes, driver in ((None, "on", "file,"), (False, "on", "file,"), (True, "off", "nbd,")):
        nodes = _values(qemu_argv(replace(_MACHINE, volatile=volatile)), "-blockdev")
        assert all(f"no-flush={flushes}" in node for node in nodes)
        assert sum(node.startswith(driver) for node in nodes) == 2


def test_disks_say_whether_they_have_a_volatile_cache() -> None:
    for volatile, says in ((True, "write-cache=on"), (False, "write-cache=off")):
        devices = _values(qemu_argv(replace(_MACHINE, volatile=volatile)), "-device")
        assert [says in device for device in devices if "drive=" in device] == [True, True]


def test_the_hosts_root_is_shared_read_only() -> None:
    shares = _values(qemu_argv(_MACHINE), "-virtfs")
    assert [share.split(",")[1] for share in shares] == ["path=/", "path=/cache/tools"]
    assert all("readonly=on" in share for share in shares)


def test_hardware_addresses_differ_between_machines() -> None:
    macs = {
        argument for index in (1, 2) for argument in _values(_argv(index), "-device") if "mac=" in argument
    }
    assert len(macs) == 2


def test_an_emulated_processor_lacks_what_is_slow_there_and_a_real_one_nothing() -> None:
    (emulated,) = _values(qemu_argv(_MACHINE), "-cpu")
    assert {"-erms", "-fsrm", "-fsrs", "-xsave"} <= set(emulated.split(","))
    assert _values(qemu_argv(replace(_MACHINE, accelerator="kvm")), "-cpu") == ["max"]


def _argv(index: int) -> list[str]:
    return qemu_argv(replace(_MACHINE, index=index))


def test_a_machine_without_a_tap_has_no_network() -> None:
    assert "-netdev" not in qemu_argv(replace(_MACHINE, tap=None))


def test_emulation_uses_every_processor_and_kvm_is_left_alone() -> None:
    assert _values(qemu_argv(_MACHINE), "-accel") == ["tcg,thread=multi"]
    assert _values(qemu_argv(replace(_MACHINE, accelerator="kvm")), "-accel") == ["kvm"]


def test_nothing_of_the_users_configuration_gets_in() -> None:
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(qemu_argv(_MACHINE))
