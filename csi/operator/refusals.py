"""One object that the API server does not take holds up no other: the next pass tries it again."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from replication.errors import TrilithError, Unavailable
from replication.kubernetes.client import Refused

logger = logging.getLogger(__name__)


@contextmanager
def apart(what: str) -> Iterator[list[str]]:
    """Gives a list that has the server's words afterwards, if it refused.

    Unavailable when the server does not answer: then each of the others would wait as long for nothing.
    """
    refusals: list[str] = []
    try:
        yield refusals
    except TrilithError as error:
        if isinstance(error, Unavailable) and not isinstance(error, Refused):
            raise
        logger.warning("%s is not as it is to be, and is tried again: %s", what, error)
        refusals.append(str(error))
