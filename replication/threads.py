"""A process without one of its threads is worse than none: it looks alive and does half of its work."""

import logging
import os
import threading

_log = logging.getLogger(__name__)
EXIT_STATUS = 70  # sysexits.h, EX_SOFTWARE


def end_with_any_thread() -> None:
    """From now on an exception that ends a thread ends the process, for its supervisor to start it anew."""
    threading.excepthook = _end


def _end(dead: threading.ExceptHookArgs) -> None:
    name = dead.thread.name if dead.thread else "a thread"
    error = dead.exc_value or dead.exc_type()
    _log.critical("%s ended unexpectedly, and this process with it", name, exc_info=error)
    logging.shutdown()
    os._exit(EXIT_STATUS)
