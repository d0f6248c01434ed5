"""Sidecars act only where the leader is, without elections of their own."""

from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from csi.v1 import csi_pb2, csi_pb2_grpc
from hack.kubernetes.plane import ControlPlane
from replication.clock import wait_until
from replication.control.store.leadership import LEASE
from replication.control.store.leases import path_of
from replication.kubernetes.client import Client
from tests.fakes.node import FakeCluster
from tests.kubernetes.conftest import NAMESPACE
from tests.kubernetes.controllers import running
from tests.kubernetes.patience import CLOCK

PROBE = csi_pb2.ProbeRequest()


@pytest.mark.usefixtures("admin")
def test_who_waits_is_told_when_its_controller_leads(plane: ControlPlane, tmp_path: Path) -> None:
    fakes, socket = FakeCluster(["a", "b", "c"]), tmp_path / "sidecars"
    leader = running(plane, fakes, tmp_path / "1.sock")
    first = leader.__enter__()
    wait_until(lambda: first.controller.leads, "a leader", timeout=60, clock=CLOCK)
    with (
        running(plane, fakes, tmp_path / "2.sock", sidecars=socket) as second,
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        asked = csi_pb2_grpc.IdentityStub(channel).Probe.future(PROBE, wait_for_ready=True)
        with pytest.raises(grpc.FutureTimeoutError):
            asked.result(timeout=3)
        assert is_ready(second.socket), "for livenessprobe and the administrator's command"
        assert "trilith_sidecars " not in read_metrics(second.controller.web.port)
        leader.__exit__(None, None, None)
        assert asked.result(timeout=60).ready.value


def test_whoever_acts_loses_its_connection_when_its_controller_leads_no_more(
    plane: ControlPlane, admin: Client, tmp_path: Path
) -> None:
    socket, states = tmp_path / "sidecars", list[grpc.ChannelConnectivity]()
    with (
        running(plane, FakeCluster(["a"]), tmp_path / "1.sock", sidecars=socket) as replica,
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        wait_until(lambda: replica.controller.leads, "a leader", timeout=60, clock=CLOCK)
        assert csi_pb2_grpc.IdentityStub(channel).Probe(PROBE, wait_for_ready=True).ready.value
        assert "trilith_sidecars 1.0\n" in read_metrics(replica.controller.web.port)
        channel.subscribe(states.append)
        admin.delete(f"{path_of(NAMESPACE)}/{LEASE}")
        wait_until(
            lambda: grpc.ChannelConnectivity.IDLE in states, "the connection lost", timeout=60, clock=CLOCK
        )


def is_ready(socket: Path) -> bool:
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        return bool(csi_pb2_grpc.IdentityStub(channel).Probe(PROBE, timeout=10).ready.value)


def read_metrics(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())
