"""Threads that work on rows, side by side."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Generic, NoReturn, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")
R = TypeVar("R")


class Pool(Generic[T, R]):
    """Hands items to threads and takes back what they made of them.

    Not ``concurrent.futures``: the interpreter waits at its end for threads of that, and so a task whose time
    is over would go on for as long as a hub takes to answer. Those here die with the process; what they were
    at is in the rows' records.

    :param size: of threads at most.
    :param work: makes a result of an item.
    :ivar in_hand: items whose result was not taken yet.
    """

    def __init__(self, size: int, work: Callable[[T], R]) -> None:
        self.size = size
        self._work = work
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Callable[[], R]] = queue.SimpleQueue()
        self._threads = 0
        self.in_hand = 0

    def map(self, items: Iterable[T], ahead: int) -> Iterator[R]:
        """Yield what is made of the items, as it comes, and let the threads end.

        :param ahead: items that are in hand at most.
        """
        try:
            for item in items:
                self.give(item)
                while self.in_hand >= ahead:
                    yield self._next(None)
            while self.in_hand:
                yield self._next(None)
        finally:
            self.close()

    def give(self, item: T) -> None:
        """Have an item worked on."""
        self.in_hand += 1
        self._items.put(item)
        if self._threads < min(self.size, self.in_hand):
            self._threads += 1
            threading.Thread(target=self._run, name=f"oxen-batch-{self._threads}", daemon=True).start()

    def take(self, seconds: float) -> R | None:
        """Return a result as soon as there is one, or None after some seconds without.

        :raises BaseException: what the work raised.
        """
        try:
            return self._next(seconds)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Let the threads end when they have done what they are at."""
        for _ in range(self._threads):
            self._items.put(None)

    def _next(self, seconds: float | None) -> R:
        made = self._results.get(timeout=seconds)
        self.in_hand -= 1
        return made()

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            try:
                self._results.put(partial(_given, self._work(item)))
            except BaseException as error:
                # A thread that is gone would be waited for for ever.
                self._results.put(partial(_raised, error))


def _given(result: R) -> R:
    return result


def _raised(error: BaseException) -> NoReturn:
    raise error
