"""Records as JSON, and back: strictly, so that what is read is what was written or an error."""

import dataclasses
import json
import types
from collections.abc import Callable, Hashable, Mapping
from enum import EnumType
from functools import cache, partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from replication.control.cordons import Cordon
from replication.errors import DataLoss
from replication.model import Pool, Replica, Volume

T = TypeVar("T")
Parse = Callable[[Any], Any]

_SCALARS = (str, int, float, bool)

_LATER: dict[Hashable, tuple[str, ...]] = {
    Replica: ("other_groups", "striped"),
    Pool: ("striped",),
    Volume: ("grown_from",),
    Cordon: ("disk",),
}
"""Fields that are written only where they say something: an earlier release reads strictly, too, and runs
beside this one while a cluster is upgraded."""

_to_text = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def encode(record: object) -> str:
    """A dataclass as compact JSON, its fields in order."""
    return _to_text(to_plain(record))


def decode(kind: type[T], text: str, what: str) -> T:
    """DataLoss, naming `what`, unless `text` is a record of `kind`; see `from_plain`."""
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise DataLoss(f"{what} is damaged: {error}") from error
    return from_plain(kind, plain, what)


def from_plain(kind: type[T], plain: object, what: str) -> T:
    """DataLoss, naming `what`, unless it is a record of `kind`: no field too many or of another type.

    A missing field has its default: it was written before the field existed.
    """
    try:
        record = _parser(kind)(plain)  # type: ignore[arg-type]  # a type is hashable, whatever its instances are
    except (ValueError, TypeError) as error:
        raise DataLoss(f"{what} is damaged: {error}") from error
    if not isinstance(record, kind):
        raise DataLoss(f"{what} is damaged: not a {kind.__name__}")
    return record


def to_plain(value: Any) -> Any:  # noqa: ANN401 - any field of a record
    """As json has it: objects for dataclasses and nothing else, lists for tuples."""
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    kind: Any = type(value)
    names = _field_names(kind)
    if not names:
        return value
    plain = {name: to_plain(getattr(value, name)) for name in names}
    for name in _LATER.get(kind, ()):
        if not plain[name]:
            del plain[name]
    return plain


@cache
def _field_names(kind: Hashable) -> tuple[str, ...]:
    """None of what is no dataclass."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


@cache
def _parser(kind: Hashable) -> Parse:
    """How what json made of a `kind` becomes one: found out once, since records are read by thousands."""
    for fits, make in _MAKERS:
        if fits(kind):
            return make(kind)
    return partial(_parse_scalar, kind)


def _make_record_parser(kind: type) -> Parse:
    hints = get_type_hints(kind)
    scalars = {name: hint for name, hint in hints.items() if hint in _SCALARS}
    return partial(_parse_record, kind, {name: _parser(hint) for name, hint in hints.items()}, scalars)


def _parse_record(
    kind: type,
    parsers: Mapping[str, Parse],
    scalars: Mapping[str, type],
    raw: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Most fields are of `scalars`, and already what they have to be."""
    if not isinstance(raw, dict):
        raise ValueError(f"{kind.__name__} is not an object")  # noqa: TRY004 - a damaged text, not a bug
    if not raw.keys() <= parsers.keys():
        unknown = sorted(raw.keys() - parsers.keys())
        raise ValueError(f"{kind.__name__} has unknown fields {', '.join(unknown)}")
    return kind(
        **{
            name: value if type(value) is scalars.get(name) else parsers[name](value)
            for name, value in raw.items()
        }
    )


def _make_tuple_parser(kind: Any) -> Parse:  # noqa: ANN401
    items = get_args(kind)
    if items[-1] is Ellipsis:
        return partial(_parse_all, _parser(items[0]))
    return partial(_parse_each, tuple(_parser(item) for item in items))


def _parse_all(parse: Parse, raw: Any) -> Any:  # noqa: ANN401
    return tuple([parse(value) for value in _require_list(raw)])


def _parse_each(parsers: tuple[Parse, ...], raw: Any) -> Any:  # noqa: ANN401
    return tuple([parse(value) for parse, value in zip(parsers, _require_list(raw), strict=True)])


def _require_list(raw: Any) -> list[Any]:  # noqa: ANN401
    if not isinstance(raw, list):
        raise ValueError(f"{raw!r} is not a list")  # noqa: TRY004
    return raw


def _make_optional_parser(kind: Any) -> Parse:  # noqa: ANN401
    (inner,) = (item for item in get_args(kind) if item is not type(None))
    return partial(_parse_optional, _parser(inner))


def _parse_optional(parse: Parse, raw: Any) -> Any:  # noqa: ANN401
    return None if raw is None else parse(raw)


def _make_enum_parser(kind: Any) -> Parse:  # noqa: ANN401
    return partial(_parse_enum, kind, {member.value: member for member in kind})


def _parse_enum(kind: Any, members: Mapping[str, Any], raw: Any) -> Any:  # noqa: ANN401
    """An enumeration takes its time to look one of its members up."""
    found = members.get(raw) if type(raw) is str else None
    return kind(raw) if found is None else found


def _parse_scalar(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    if type(raw) is kind:
        return raw
    if kind is float and type(raw) is int:
        return float(raw)
    raise ValueError(f"{raw!r} is not {kind.__name__}")


_MAKERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Parse]], ...] = (
    (dataclasses.is_dataclass, _make_record_parser),
    (lambda kind: get_origin(kind) is tuple, _make_tuple_parser),
    (lambda kind: get_origin(kind) is types.UnionType, _make_optional_parser),
    (lambda kind: isinstance(kind, EnumType), _make_enum_parser),
)
