import base64
import zlib

from replication.control.keys import new_key


def test_a_key_carries_its_checksum() -> None:
    prefix, transform, encoded, rest = new_key().split(":")
    raw = base64.b64decode(encoded)
    assert (prefix, transform, rest, len(raw)) == ("DHHC-1", "00", "", 36)
    assert int.from_bytes(raw[32:], "little") == zlib.crc32(raw[:32])
    assert new_key() != new_key()
