"""The types that cross the wire, found in the contract, and any value of each."""

import dataclasses
import inspect
import re
import typing
from functools import cache

from google.protobuf.message import Message
from hypothesis import strategies as st

from replication.rpc.contract import NodeApi, Reports
from replication.rpc.v1 import node_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["Node"]
METHODS = {
    name: method for name, method in vars(NodeApi).items() if inspect.isfunction(method) and name[0] != "_"
}
NARROW = {"port", "replica_count"}  # 32 bits on the wire


def list_wire_types() -> list[type]:
    """Every dataclass in a parameter or an answer of NodeApi, and those inside them."""
    found: dict[type, None] = {}
    for method in METHODS.values():
        for hint in typing.get_type_hints(method).values():
            _collect(hint, found)
    _collect(typing.get_type_hints(Reports.__next__)["return"], found)
    return list(found)


def get_message_type(value_type: type) -> type[Message]:
    return typing.cast("type[Message]", getattr(pb, value_type.__name__))


def snake(camel: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", camel).lower()


@cache
def any_value(value_type: type) -> st.SearchStrategy[object]:
    hints = typing.get_type_hints(value_type)
    return st.builds(value_type, **{name: _any_of(hint, name) for name, hint in hints.items()})


def _collect(hint: object, found: dict[type, None]) -> None:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        found[hint] = None
        for inner in typing.get_type_hints(hint).values():
            _collect(inner, found)
    for arm in typing.get_args(hint):
        _collect(arm, found)


def _any_of(hint: object, name: str) -> st.SearchStrategy[typing.Any]:
    if isinstance(hint, type):
        return _any_of_type(hint, name)
    arms = [_any_of(arm, name) for arm in typing.get_args(hint) if arm is not Ellipsis]
    if typing.get_origin(hint) is tuple:
        return st.lists(arms[0], max_size=3).map(tuple)
    return st.one_of(*arms)


def _any_of_type(hint: type, name: str) -> st.SearchStrategy[typing.Any]:
    if hint is int:
        return st.integers(0, 2**32 - 1 if name in NARROW else 2**64 - 1)
    if hint is float:
        return st.floats(allow_nan=False)
    if dataclasses.is_dataclass(hint):
        return any_value(hint)
    return st.from_type(hint)
