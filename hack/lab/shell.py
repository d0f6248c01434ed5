"""An interactive prompt with a running cluster: `make lab-shell NODES=3`."""

import argparse
import code
import time

from hack.lab.cluster import Cluster
from hack.lab.network import enter_private_network
from hack.lab.packages import DEFAULT_KERNEL

HELP = """
{machines} run. Each of them has:
  m1.succeed("lsblk")           output, or an error            m1.fail(…)  m1.execute(…)
  m1.spawn("ping m2")           in the background: .output  .status  .kill()
  m1.wait_until_succeeds(…)     m1.read_file(path)  m1.write_file(path, data)
  m1.crash()  m1.start()        power cut, and boot again with the same disks
  m1.cut()  m1.heal()           network cable out and in       m1.delay(ms)  m1.loss(percent)
  m1.break_disk(0)              pull the disk out; fail_disk_io(0)  heal_disk_io(0)  disk_path(0)
  m1.console()                  what its kernel said           m1.address
`cluster` is all of them; sh("command") runs on every machine. Ctrl-D ends everything.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--disks", type=int, default=1)
    parser.add_argument("--kernel", default=DEFAULT_KERNEL)
    options = parser.parse_args()
    enter_private_network()
    started = time.monotonic()
    with Cluster(options.nodes, options.disks, kernel=options.kernel) as cluster:
        print(f"booted in {time.monotonic() - started:.0f} s with {cluster.machines[0].hardware.accelerator}")
        _interact(cluster)


def _interact(cluster: Cluster) -> None:
    def sh(command: str) -> None:
        for machine in cluster.machines:
            print(f"{machine.name}: {machine.execute(command)[1].strip()}")

    names = {machine.name: machine for machine in cluster.machines}
    banner = HELP.format(machines=", ".join(names))
    code.interact(banner, local={**names, "cluster": cluster, "sh": sh}, exitmsg="")


if __name__ == "__main__":
    main()
