"""The kinds of cases, and how one of them is played."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.fuzz import given, kept, strangers
from tests.fuzz.guard import Guard

__all__ = ["KINDS", "play"]

Kind = Callable[[Random], Callable[[], object]]

KINDS: dict[str, Kind] = {
    made.__name__: made
    for made in (
        strangers.answer,
        strangers.history,
        strangers.download,
        strangers.stream,
        kept.record,
        kept.side,
        kept.batch,
        kept.xcom,
        kept.event,
        kept.kwargs,
        given.schema,
        given.extra,
        given.request,
        given.headers,
        given.image,
        given.text,
    )
}


def play(guard: Guard, kind: str, name: str) -> str:
    """Make a case and run it; return how it ended.

    :param name: all that it is made of.
    :raises Wrong: where it must not end so.
    """
    return guard.run(lambda: KINDS[kind](Random(name)))
