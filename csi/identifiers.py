"""Names, ids and paths of the CSI specification, and the keys of what travels with a volume."""

import re
from pathlib import PurePosixPath

from replication.errors import InvalidRequest, NotFound

MAX_NAME_BYTES = 128
MAX_NODE_ID_BYTES = 256
MAX_PATH_BYTES = 4095
CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

FILESYSTEM_CONTEXT = "filesystem"
"""Key in the volume context: what NodeStageVolume makes when the capability does not say."""

READONLY_CONTEXT = "readonly"
"""Key in the publish context: "true" when the volume is attached read-only."""


def parse_volume_id(volume_id: str) -> str:
    """Only that there is one: whether it exists is for the record to say."""
    if not volume_id:
        raise InvalidRequest("volume_id: missing")
    if len(volume_id.encode()) > MAX_NAME_BYTES:
        raise InvalidRequest(f"volume_id: longer than {MAX_NAME_BYTES} bytes")
    return volume_id


def parse_volume_path(path: str) -> str:
    """Of a volume that should be there: where none can be, none is found."""
    if not path:
        raise InvalidRequest("volume_path: missing")
    try:
        return parse_path(path, "volume_path")
    except InvalidRequest as error:
        raise NotFound(str(error)) from error


def parse_path(path: str, what: str) -> str:
    if not path:
        raise InvalidRequest(f"{what}: missing")
    if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
        raise InvalidRequest(f"{what}: {path!r}: must be an absolute path without '..'")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidRequest(f"{what}: longer than {MAX_PATH_BYTES} bytes")
    return str(PurePosixPath(path))


def parse_name(name: str) -> str:
    if not name:
        raise InvalidRequest("name: missing")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidRequest(f"name: {len(name.encode())} bytes: at most {MAX_NAME_BYTES}")
    if CONTROL_CHARACTERS.search(name):
        raise InvalidRequest(f"name: {name!r}: contains a control character")
    return name


def parse_node_id(node: str) -> str:
    if len(node.encode()) > MAX_NODE_ID_BYTES:
        raise InvalidRequest(f"node_id: longer than {MAX_NODE_ID_BYTES} bytes")
    return node
