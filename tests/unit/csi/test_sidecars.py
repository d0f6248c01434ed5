"""Sidecars are counted by their connections, as the kernel has them."""

from contextlib import ExitStack
from pathlib import Path

import grpc

from csi.cluster.sidecars import SOCKETS, Sidecars, count_connections
from csi.endpoint import UnixEndpoint
from csi.server import serve
from replication.clock import SystemClock, wait_until
from replication.pki import Identity

TABLE = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 18640 /csi/leader.sock
0000000000000000: 00000003 00000000 00000000 0001 03 20451 /csi/leader.sock
0000000000000000: 00000003 00000000 00000000 0001 03 20452 /csi/leader.sock
0000000000000000: 00000003 00000000 00000000 0001 03 20453
0000000000000000: 00000003 00000000 00000000 0001 03 20454 /csi/csi.sock
0000000000000000: 00000002 00000000 00000000 0001 02 20455 /csi/leader.sock
0000000000000000: 00000003 00000000 00000000 0001 03 20456 /csi/leader.sock old
"""


def read(sidecars: Sidecars) -> list[tuple[str, float]]:
    return [(each.name, each.value) for family in sidecars.collect() for each in family.samples]


def test_open_connections_at_the_socket_are_counted() -> None:
    assert count_connections(TABLE, Path("/csi/leader.sock")) == 2
    assert count_connections(TABLE, Path("/csi/csi.sock")) == 1
    assert count_connections(TABLE.splitlines()[0], Path("/csi/leader.sock")) == 0


def test_whoever_does_not_lead_tells_nothing(tmp_path: Path) -> None:
    table, leads = tmp_path / "unix", [False]
    table.write_text(TABLE)
    sidecars = Sidecars(Path("/csi/leader.sock"), lambda: leads[0], table)
    assert read(sidecars) == []
    leads[0] = True
    assert read(sidecars) == [("trilith_sidecars", 2.0)]


def test_who_connects_is_counted_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "leader.sock"
    sidecars = Sidecars(path, lambda: True)

    def wait_for(count: float) -> None:
        what = f"{count:g} connections of {SOCKETS}"
        told = [("trilith_sidecars", count)]
        wait_until(lambda: read(sidecars) == told, what, timeout=30, clock=SystemClock())

    server = serve(lambda _: None, UnixEndpoint(path), _refuse)
    with ExitStack() as stack:
        for count in (1.0, 2.0, 3.0):
            options = [
                ("grpc.use_local_subchannel_pool", 1)
            ]  # else channels to one address share a connection
            channel = stack.enter_context(grpc.insecure_channel(f"unix:{path}", options))
            grpc.channel_ready_future(channel).result(timeout=30)
            wait_for(count)
    wait_for(0.0)
    server.stop(0)


def _refuse() -> Identity:
    raise AssertionError("a UNIX socket needs no certificate")
