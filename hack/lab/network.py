"""The lab's network: a namespace without a name, a bridge, one tap per machine.

The namespace belongs to the processes in it and to nothing else: when the last one ends, however it ends, the
kernel takes bridge and taps away.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute

from hack.lab.errors import LabError

BRIDGE = "br0"
HOST_ADDRESS = "10.77.0.1"
AGENT_PORT = 7443
_CLONE_NEWNET = 0x40000000
_entered = False


def machine_address(index: int) -> str:
    """Machine mN, counted from 1."""
    return f"10.77.0.{10 + index}"


def tap_name(index: int) -> str:
    return f"tap{index}"


def enter_private_network() -> None:
    """Move this process into a fresh network namespace with the lab's bridge; a second call does nothing.

    A namespace is a thread's: call it before any other thread starts. There is no way out of it, nor a need.
    """
    global _entered  # noqa: PLW0603 - a fact about the process
    if _entered:
        return
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise LabError(f"enter_private_network: {threads} threads already run; it has to come first")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        error = os.strerror(ctypes.get_errno())
        raise LabError(f"cannot make a network namespace: {error}; the lab needs root")
    _make_bridge()
    _entered = True


def _make_bridge() -> None:
    with IPRoute() as ip:
        ip.link("set", index=_index(ip, "lo"), state="up")
        ip.link("add", ifname=BRIDGE, kind="bridge")
        index = _index(ip, BRIDGE)
        ip.link("set", index=index, state="up")
        ip.addr("add", index=index, address=HOST_ADDRESS, prefixlen=24)


def add_address(address: str) -> None:
    """One more of the host's, whose route the machines have to know."""
    require_private_network()
    with IPRoute() as ip:
        ip.addr("replace", index=_index(ip, BRIDGE), address=address, prefixlen=32)


def add_route(destination: str, machine: str) -> None:
    """The host reaches the addresses of `destination`, as in 10.244.1.0/24, through that machine."""
    require_private_network()
    with IPRoute() as ip:
        ip.route("replace", dst=destination, gateway=machine)


def ensure_tap(name: str) -> None:
    """The tap exists, is up and in the bridge."""
    require_private_network()
    with IPRoute() as ip:
        if not ip.link_lookup(ifname=name):
            ip.link("add", ifname=name, kind="tuntap", mode="tap")
        ip.link("set", index=_index(ip, name), master=_index(ip, BRIDGE), state="up")


def remove_tap(name: str) -> None:
    with IPRoute() as ip:
        for index in ip.link_lookup(ifname=name):
            ip.link("del", index=index)


def set_link(name: str, *, up: bool) -> None:
    with IPRoute() as ip:
        ip.link("set", index=_index(ip, name), state="up" if up else "down")


def require_private_network() -> None:
    if not _entered:
        raise LabError("call hack.lab.network.enter_private_network() before the first thread starts")


@contextlib.contextmanager
def tap(name: str) -> Iterator[str]:
    ensure_tap(name)
    try:
        yield name
    finally:
        remove_tap(name)


def _index(ip: IPRoute, name: str) -> int:
    found = ip.link_lookup(ifname=name)
    if not found:
        raise LabError(f"no network interface {name}")
    return int(found[0])
