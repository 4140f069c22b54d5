"""How many streams of events are open, and whether they may go on."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["Streams"]


class Streams:
    """The open streams of events, as far as others must know of them. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = self._drops = 0

    @property
    def number(self) -> int:
        """How many are open."""
        return self._open

    def drop(self) -> None:
        """Have those that are open now cut off."""
        with self._lock:
            self._drops += 1

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[], bool]]:
        """Count a stream in; what is handed out tells whether it may go on."""
        with self._lock:
            self._open += 1
            drops = self._drops
        try:
            yield lambda: self._drops == drops
        finally:
            with self._lock:
                self._open -= 1
