"""Long lists, a page at a time: a token is the id that a page ended with.

Ids never change, so that a token stays good whatever is made or deleted between two pages, its own volume
included, and no volume that was there all the time is missed or told twice.
"""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from replication.errors import Conflict, InvalidRequest
from replication.model import Phase, Volume

BATCH = 500
_TOKEN = re.compile(r"v[0-9a-f]{16}")

ListPage = Callable[[str, int], tuple[Volume, ...]]
T = TypeVar("T")


def parse_token(token: str) -> str:
    """Conflict, which is ABORTED: the specification wants the caller to begin anew."""
    if token and not _TOKEN.fullmatch(token):
        raise Conflict(f"starting_token: {token!r}: not one of ours; begin without one")
    return token


def parse_max_entries(count: int) -> int:
    """0: no bound."""
    if count < 0:
        raise InvalidRequest(f"max_entries: {count}: must not be negative")
    return count


def iterate(list_page: ListPage, after: str, batch: int = BATCH) -> Iterator[Volume]:
    """Every volume that has been handed to somebody and not been taken back, by id; `batch` read at once."""
    while page := list_page(after, batch):
        yield from (volume for volume in page if volume.phase in {Phase.READY, Phase.EXPANDING})
        after = page[-1].id


def choose_batch(count: int) -> int:
    """Enough for a page of `count` and to know whether there is more; 0: no bound."""
    return min(count + 1, BATCH) if count else BATCH


def cut(entries: Iterator[tuple[str, T]], count: int) -> tuple[list[T], str]:
    """The first `count` of (volume's id, entry), and the token for the rest: "" when there is none."""
    if not count:
        return [entry for _, entry in entries], ""
    page = list(islice(entries, count))
    more = next(entries, None) is not None
    return [entry for _, entry in page], page[-1][0] if more else ""
