"""Who may reach an export: a name and keys of one attachment, made here and stored nowhere."""

import base64
import secrets
import zlib

from replication.model import Consumer

KEY_BYTES = 32


def new_key() -> str:
    """A DH-HMAC-CHAP secret as nvmet and nvme-tcp take it: 00 means that it is not transformed."""
    secret = secrets.token_bytes(KEY_BYTES)
    checked = secret + zlib.crc32(secret).to_bytes(4, "little")
    return f"DHHC-1:00:{base64.b64encode(checked).decode()}:"


def new_consumer(volume_id: str, epoch: int, replica_id: str, *, authentication: bool) -> Consumer:
    """A kernel's hosts are shared by all its subsystems: a key per attachment needs a name of its own."""
    host_nqn = f"nqn.2026-11.io.trilith:host:{volume_id}:{epoch}:{replica_id}"
    return Consumer(host_nqn, new_key(), new_key()) if authentication else Consumer(host_nqn)
