"""What one process of the control plane consists of: parts that run side by side until they are to stop."""

import threading
from collections.abc import Callable, Iterable

Run = Callable[[threading.Event], None]
"""Work until the event is set."""


def run_together(parts: Iterable[tuple[str, Run]], stop: threading.Event) -> None:
    """Each in a thread called by its name; return when all have come back."""
    threads = [threading.Thread(target=run, args=(stop,), name=name, daemon=True) for name, run in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
