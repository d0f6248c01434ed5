"""One more machine beside those that a cluster began with, which joins it as a node."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hack.kubernetes.cluster import KubernetesCluster
from hack.kubernetes.worker import pod_range
from hack.lab import network
from hack.lab.cluster import Cluster
from hack.lab.initramfs import write_initramfs
from hack.lab.vm import Machine


@contextmanager
def joined(kubernetes: KubernetesCluster) -> Iterator[Machine]:
    """Of the same hardware, with disks of its own; Ready. Afterwards neither machine nor Node is there."""
    with _added(kubernetes.machines) as machine:
        network.add_route(pod_range(machine), machine.address)
        for other in kubernetes.machines.machines:
            if other is not machine:
                other.succeed(f"ip route replace {pod_range(machine)} via {machine.address}")
        kubernetes.start_worker(machine)
        kubernetes.wait_node_ready(machine.name)
        try:
            yield machine
        finally:
            machine.crash()
            kubernetes.kubectl.run("delete", "node", machine.name)


@contextmanager
def _added(machines: Cluster) -> Iterator[Machine]:
    """It runs, and is one of them."""
    before, like = machines.machines, machines.machines[0].hardware
    index = len(before) + 1
    with network.tap(network.tap_name(index)) as tap:
        name, address = f"m{index}", network.machine_address(index)
        hardware = replace(
            like,
            name=name,
            index=index,
            initramfs=like.folder / f"{name}.initramfs",
            disks=tuple(like.folder / f"{name}-disk{number}" for number in range(machines.disks)),
            tap=tap,
            console=machines.logs / f"{name}.console",
        )
        addresses = {each.hardware.name: each.address for each in before} | {name: address}
        write_initramfs(hardware.initramfs, machines.kernel, name, addresses)
        for disk in hardware.disks:
            disk.touch()
        machine = Machine(hardware, address)
        machines.renew_disks(machine)
        machines.machines = (*before, machine)
        try:
            machine.start()
            yield machine
        finally:
            machine.crash()
            machines.machines = before
