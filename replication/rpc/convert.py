"""Dataclasses to protobuf messages and back, by the names of their fields and their type hints.

A message mirrors its dataclass field by field, so that there is nothing to write per type. Supported are str,
int, float, bool, bytes, StrEnum, dataclasses, `tuple[X, ...]` of these, and `X | None`, whose None is the
absence of the field.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial

from google.protobuf.message import Message

from replication.errors import InvalidRequest

SCALARS = (str, int, float, bool, bytes)

M = typing.TypeVar("M", bound=Message)
T = typing.TypeVar("T")

Decode = Callable[[typing.Any], typing.Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """How one field of a message becomes one of a dataclass."""

    name: str
    has_presence: bool  # the message knows whether it was set
    optional: bool  # the dataclass takes None
    decode: Decode

    def read(self, message: Message) -> typing.Any:  # noqa: ANN401  the type is the field's
        if self.has_presence and not message.HasField(self.name):
            if self.optional:
                return None
            raise InvalidRequest(f"{type(message).__name__} lacks {self.name}")
        return self.decode(getattr(message, self.name))


def to_message(value: object, message_type: type[M]) -> M:
    """Protobuf takes nested dicts for messages and None for absence, which is what asdict gives."""
    return message_type(**dataclasses.asdict(value))  # type: ignore[call-overload]


def from_message(message: Message, value_type: type[T]) -> T:
    """Raise InvalidRequest when a nested message is missing, or an enumeration does not know the value."""
    plan = _plan(value_type)  # type: ignore[arg-type]  # a type is hashable, whatever its instances are
    return value_type(**{field.name: field.read(message) for field in plan})


@cache
def _plan(value_type: type) -> tuple[Field, ...]:
    hints = typing.get_type_hints(value_type)
    return tuple(_plan_field(field.name, hints[field.name]) for field in dataclasses.fields(value_type))


def _plan_field(name: str, hint: object) -> Field:
    bare = _strip_none(hint)
    optional = bare is not hint
    return Field(name, optional or dataclasses.is_dataclass(bare), optional, _decoder(bare))


def _strip_none(hint: object) -> object:
    """`X` of `X | None`."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint
    bare = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
    if len(bare) != 1:
        raise TypeError(f"{hint} cannot be put on the wire")
    return bare[0]


def _decoder(hint: object) -> Decode:
    if hint in SCALARS:
        return _keep
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return partial(_decode_enum, hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return partial(_decode_nested, hint)
    if typing.get_origin(hint) is tuple and typing.get_args(hint)[1:] == (Ellipsis,):
        return partial(_decode_tuple, _decoder(typing.get_args(hint)[0]))
    raise TypeError(f"{hint} cannot be put on the wire")


def _keep(value: object) -> object:
    return value


def _decode_enum(enum: type[StrEnum], value: str) -> StrEnum:
    try:
        return enum(value)
    except ValueError:
        raise InvalidRequest(f"{enum.__name__} has no value {value!r}; is the peer newer?") from None


def _decode_nested(value_type: type, message: Message) -> object:
    return from_message(message, value_type)


def _decode_tuple(decode: Decode, values: typing.Iterable[object]) -> tuple[object, ...]:
    return tuple(map(decode, values))
