"""Stop on request: Ctrl-C and SIGTERM end training at the next checkpoint, and an error says how to resume."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from circuits.errors import Interrupted


@contextmanager
def saying_how_to_resume(path: Path) -> Iterator[None]:
    """Turn the KeyboardInterrupt of a second Ctrl-C into an `Interrupted` that says how to resume."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped at once; every committed checkpoint is saved. Continue: circuits train --resume --out {path}"
        ) from None


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Event that the first Ctrl-C or SIGTERM sets during training; a second signal interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for which, handler in before.items():
            signal.signal(which, handler)

    def request(*_: object) -> None:
        stop.set()
        restore()

    for which in before:
        signal.signal(which, request)
    try:
        yield stop
    finally:
        restore()
