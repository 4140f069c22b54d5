"""One case under watch: what it may raise, how long it may take, how much it may hold, what it may show."""

from __future__ import annotations

import logging
import resource
import time
import traceback
from collections.abc import Callable

from airflow_provider_oxen.api.errors import OxenError
from tests.fuzz.mutate import KEY, SIGNATURE

__all__ = ["MEMORY", "SECONDS", "Guard", "Wrong"]

SECONDS = 5.0
"""Of the processor, for one case: that hardly depends on how busy the machine is. Most take a thousandth."""

MEMORY = 300 * 1024
"""KiB by which the process's highest memory may grow from one look to the next."""

EVERY = 25
"""Cases from one look at the memory to the next: a system call may take longer than a case."""

_LOGGERS = ("", "httpx", "httpcore", "airflow_provider_oxen", "asyncio")


class Wrong(Exception):
    """What a case must not do."""


class Guard(logging.Handler):
    """Runs cases, and hears all that is logged meanwhile."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._told: list[str] = []
        self._cases = 0
        self._most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        logging.getLogger().addHandler(self)
        self._levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(self.format(record))

    def run(self, make: Callable[[], Callable[[], object]]) -> str:
        """Make a case and run it, and return how it ended: the name of an error, or ``result``.

        :raises Wrong: where it must not end so.
        """
        began = time.perf_counter()
        ended = self._watched(make())
        # The processor's time is dear to ask for: only of what took long, and then once more.
        if time.perf_counter() - began > SECONDS:
            case, used = make(), time.process_time()
            self._watched(case)
            if (took := time.process_time() - used) > SECONDS:
                raise Wrong(f"it took {took:.1f} s")
        self._cases += 1
        if self._cases % EVERY == 0:
            self.look()
        return ended

    def look(self) -> None:
        """Look how much memory the cases since the last look have taken."""
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grew, self._most = most - self._most, most
        if grew > MEMORY:
            raise Wrong(f"it, or one of the {EVERY} before it, took {grew // 1024} MiB")

    def _watched(self, case: Callable[[], object]) -> str:
        self._told.clear()
        shown, ended = "", "result"
        try:
            case()
        except OxenError as error:
            ended = type(error).__name__
            # Without frames: what is told of an error is its words, and those of what led to it.
            told = traceback.format_exception(type(error), error, error.__traceback__, limit=0)
            shown = f"{error} {error!r} {error.__dict__} {''.join(told)}"
        except Exception as error:
            raise Wrong(f"{type(error).__name__}: {str(error)[:300]}\n{_end_of(error)}") from None
        for where, text in (("error", shown), ("log", "\n".join(self._told))):
            for secret in (KEY, SIGNATURE):
                if secret in text:
                    at = text.index(secret)
                    raise Wrong(f"the {where} shows {text[max(0, at - 300) : at + 80]!r}")
            if len(text) > 100_000:
                raise Wrong(f"the {where} has {len(text):,} characters: {text[:200]!r}")
        return ended

    def close(self) -> None:
        logging.getLogger().removeHandler(self)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        super().close()


def _end_of(error: BaseException) -> str:
    """Return the last steps of a traceback, without the lines of deep recursion."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list(frames[-6:]))
