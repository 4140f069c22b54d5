"""Where async and blocking code meet: async code without an event loop, and blocking code beside one."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

__all__ = ["Threads", "unsuspended"]

T = TypeVar("T")
U = TypeVar("U")


def unsuspended(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never really waits, without an event loop.

    :raises RuntimeError: if the coroutine does wait.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        coroutine.close()
    raise RuntimeError("the coroutine waits for an event loop, and there is none")


class Threads(Executor):
    """A few threads for blocking work. They start when they are needed, and die with the process.

    Unlike with ``ThreadPoolExecutor``, the interpreter does not wait for them at its end. Otherwise a task
    whose time is over would go on for as long as a store takes to answer.

    :param most: the most threads.
    """

    def __init__(self, most: int, name: str) -> None:
        self.most = most
        self._name = name
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = self._begun = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Let one of the threads call a function."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                # If the error ended the thread, the caller would wait for ever.
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            self._idle -= 1
            if self._idle < 0 and self._begun < self.most:
                self._begun += 1
                self._idle += 1
                name = f"{self._name}-{self._begun}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        self._work.put(work)
        return future

    def each(self, work: Callable[[U], T], items: Iterable[U]) -> Iterator[T]:
        """Yield the results for the items, in their order; only a few items are taken ahead."""
        ahead: deque[Future[T]] = deque()
        for item in items:
            ahead.append(self.submit(work, item))
            if len(ahead) >= 4 * self.most:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end when they have finished their work; this does not wait for them."""
        for _ in range(self._begun):
            self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            # Drop the function, so that this idle thread does not keep its result alive.
            del work
            with self._lock:
                self._idle += 1
