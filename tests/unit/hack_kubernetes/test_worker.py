import json
import tomllib
from pathlib import Path

from hack.kubernetes.images import PAUSE
from hack.kubernetes.worker import containerd_config, network_config


def test_containerd_runs_what_lies_in_the_cache() -> None:
    plugin = tomllib.loads(containerd_config(Path("/cache/tree")))["plugins"]["io.containerd.grpc.v1.cri"]
    assert plugin["sandbox_image"] == PAUSE
    assert plugin["cni"]["bin_dir"] == "/cache/tree/usr/lib/cni"
    assert plugin["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/tree/usr/sbin/runc"


def test_pods_are_reached_by_their_own_addresses() -> None:
    said = json.dumps(network_config("10.244.7.0/24"))
    assert '"ipMasq": false' in said
    assert '"ranges": [[{"subnet": "10.244.7.0/24"}]]' in said
