"""Records as JSON, and back: strictly, so that what is read is what was written or an error."""

import dataclasses
import json
import types
from collections.abc import Callable
from enum import EnumType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from replication.errors import DataLoss

T = TypeVar("T")


def encode(record: object) -> str:
    """A dataclass as compact JSON, its fields in order."""
    return json.dumps(_plain(record), separators=(",", ":"), ensure_ascii=False)


def decode(kind: type[T], text: str, what: str) -> T:
    """DataLoss, naming `what`, unless `text` is a record of `kind`: no field too many or of another type.

    A missing field has its default: it was written before the field existed.
    """
    try:
        record = _parse(kind, json.loads(text))
    except (ValueError, TypeError) as error:
        raise DataLoss(f"{what} is damaged: {error}") from error
    if not isinstance(record, kind):
        raise DataLoss(f"{what} is damaged: not a {kind.__name__}")
    return record


def _plain(value: Any) -> Any:  # noqa: ANN401 - any field of a record
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _parse(kind: Any, raw: Any) -> Any:  # noqa: ANN401 - a type, and what json made of it
    for fits, parse in _PARSERS:
        if fits(kind):
            return parse(kind, raw)
    return _parse_scalar(kind, raw)


def _parse_record(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    if not isinstance(raw, dict):
        raise ValueError(f"{kind.__name__} is not an object")  # noqa: TRY004 - a damaged text, not a bug
    hints = get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has unknown fields {', '.join(unknown)}")
    return kind(**{name: _parse(hints[name], value) for name, value in raw.items()})


def _parse_tuple(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    if not isinstance(raw, list):
        raise ValueError(f"{raw!r} is not a list")  # noqa: TRY004
    items = get_args(kind)
    if items[-1] is Ellipsis:
        return tuple(_parse(items[0], value) for value in raw)
    return tuple(_parse(item, value) for item, value in zip(items, raw, strict=True))


def _parse_optional(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    (inner,) = (item for item in get_args(kind) if item is not type(None))
    return None if raw is None else _parse(inner, raw)


def _parse_enum(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    return kind(raw)


def _parse_scalar(kind: Any, raw: Any) -> Any:  # noqa: ANN401
    if kind is float and type(raw) is int:
        return float(raw)
    if type(raw) is not kind:
        raise ValueError(f"{raw!r} is not {kind.__name__}")
    return raw


_PARSERS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Any], Any]], ...] = (
    (dataclasses.is_dataclass, _parse_record),
    (lambda kind: get_origin(kind) is tuple, _parse_tuple),
    (lambda kind: get_origin(kind) is types.UnionType, _parse_optional),
    (lambda kind: isinstance(kind, EnumType), _parse_enum),
)
