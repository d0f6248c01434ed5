from hypothesis import given
from hypothesis import strategies as st

from replication.agent.names import (
    ExportName,
    HoldName,
    PartName,
    array_name,
    logical_volume_name,
    parse_export_name,
    parse_hold_name,
    parse_logical_volume_name,
    parse_part_name,
    volume_of_array,
)

volumes = st.from_regex(r"v[0-9a-f]{16}", fullmatch=True)
replicas = st.from_regex(r"r[0-9]{1,4}", fullmatch=True)
epochs = st.integers(0, 10**12)
boots = st.from_regex(r"[0-9a-f]{8}", fullmatch=True)


@given(st.builds(HoldName, volumes, replicas, epochs))
def test_a_hold_name_reads_back(name: HoldName) -> None:
    assert parse_hold_name(str(name)) == name
    assert len(str(name)) < 128  # DM_NAME_LEN, include/uapi/linux/dm-ioctl.h


@given(st.builds(ExportName, volumes, replicas, epochs, epochs, boots))
def test_an_export_name_reads_back_and_fits_an_nqn(name: ExportName) -> None:
    assert parse_export_name(str(name)) == name
    assert len(str(name)) <= 223  # NVMe base specification, 4.7


@given(st.builds(PartName, volumes, replicas, st.integers(1, 99), st.integers(1, 99), st.booleans()))
def test_a_part_is_no_replica_to_an_agent_that_knows_no_parts(name: PartName) -> None:
    assert parse_part_name(str(name)) == name
    assert parse_logical_volume_name(str(name)) is None
    assert len(f"trilith_0123abcd-{name}") < 128


@given(volumes, replicas)
def test_arrays_and_logical_volumes_read_back(volume: str, replica: str) -> None:
    assert volume_of_array(array_name(volume)) == volume
    assert parse_logical_volume_name(logical_volume_name(volume, replica)) == (volume, replica)
    assert len(array_name(volume)) < 32  # DISK_NAME_LEN, include/linux/blkdev.h


def test_what_is_not_ours_is_nobodys() -> None:
    assert parse_hold_name("vg-root") is None
    assert parse_export_name("nqn.2014-08.org.nvmexpress:uuid:1") is None
    assert parse_logical_volume_name("root") is None
