"""Effects that come out as a test says, and remember what was asked of them."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.errors import OxenError, OxenImageError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.effects import Accepted, End, Prepared, Remade
from airflow_provider_oxen.jobs.record import Record


class Write(NamedTuple):
    record: Record


class Close(NamedTuple):
    record: Record


class Prepare(NamedTuple):
    counter: int


class Send(NamedTuple):
    record: Record


class Rows(NamedTuple):
    record: Record
    others: tuple[Record, ...] = ()


class Row(NamedTuple):
    generation_id: str


class Pause(NamedTuple):
    seconds: float


class Linger(NamedTuple):
    seconds: float
    error: OxenImageError


class Wait(NamedTuple):
    record: Record


class Cancel(NamedTuple):
    generation_id: str


class Keep(NamedTuple):
    record: Record
    same: str | None = None


class Script:
    """:class:`~airflow_provider_oxen.jobs.effects.Effects` with outcomes that are given; an error is raised.

    :param remade: what the arguments make, by counter: of the last one for all that follow.
    :ivar keeps: whether there is a place for a record.
    :ivar asked: what was asked, but for what costs and changes nothing.
    """

    def __init__(self, outcomes: Sequence[Any], remade: Sequence[Any]) -> None:
        self.left = list(outcomes)
        self.keeps = True
        self.remade = remade
        self.asked: list[Any] = []

    def _next(self, asked: Any) -> Any:
        self.asked.append(asked)
        assert self.left, f"asks for more: {asked}"
        return self._come(self.left.pop(0))

    def _come(self, outcome: Any) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def write(self, record: Record) -> None:
        if self.keeps:
            self._next(Write(record))

    async def close(self, record: Record) -> None:
        if self.keeps:
            self._next(Close(record))

    async def prepare(self, counter: int) -> Prepared:
        return self._next(Prepare(counter))

    async def remake(self, counter: int) -> Remade:
        return self._come(self.remade[min(counter, len(self.remade) - 1)])

    async def send(self, record: Record) -> Accepted:
        return self._next(Send(record))

    async def rows(self, record: Record, others: Sequence[Record] = ()) -> list[Generation]:
        return self._next(Rows(record, tuple(others)))

    async def row(self, generation_id: str) -> Generation | None:
        return self._next(Row(generation_id))

    async def pause(self, seconds: float) -> float:
        return self._next(Pause(seconds))

    async def linger(self, seconds: float, error: OxenImageError) -> bool:
        return self._next(Linger(seconds, error))

    async def wait(self, record: Record) -> End:
        return self._next(Wait(record))

    async def cancel(self, generation_id: str) -> None:
        self._next(Cancel(generation_id))

    async def keep(self, record: Record, same: str | None = None) -> tuple[Record, Any]:
        return self._next(Keep(record, same))


def play(script: Script, protocol: Coroutine[Any, Any, Any]) -> tuple[list[Any], Any]:
    """Return what a protocol asked for, and its result or error."""
    try:
        result: Any = unsuspended(protocol)
    except OxenError as error:
        result = error
    assert not script.left
    return script.asked, result
