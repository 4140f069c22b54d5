"""Run a Dag when a generation has ended on the hub, whoever asked for it (Airflow 3)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow.triggers import base

from airflow_provider_oxen.triggers._base import loaded

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger, TriggerEvent

    from airflow_provider_oxen.triggers._watchers import EventProducer, Positions
    from airflow_provider_oxen.waiting.cursor import Cursor
    from airflow_provider_oxen.waiting.follower import GenerationFollower
    from airflow_provider_oxen.waiting.wakeups import Wakeup
else:
    # Airflow 2.11 has no such thing; the module can be imported there all the same.
    BaseEventTrigger = getattr(base, "BaseEventTrigger", base.BaseTrigger)

__all__ = ["OxenGenerationEventTrigger"]

STATUSES = ("succeeded", "failed", "cancelled")
"""How a generation can end."""

_LONGEST = 7 * 86400
"""Seconds of the longest lookback."""


class _WrongArgument(TypeError, ValueError):
    """An argument that makes no sense.

    To the author of a Dag it is a ``ValueError``; but only a ``TypeError`` is taken by Airflow's triggerer as
    the fault of one trigger, and would not end it.
    """


class OxenGenerationEventTrigger(BaseEventTrigger):
    """An event for an asset whenever a generation of the hub's queue has ended, for ``AssetWatcher``.

    It listens to the hub's stream of events and looks in its history, for what the stream leaves out and
    for what ended while nobody listened. Each event is delivered at least once: ``docs/events.md`` says
    which repeats are possible. It never submits, and holds neither the key nor a link.

    Needs Airflow 3. With 3.3 and newer all watchers of a connection in a triggerer share one stream, and
    each keeps its position in the state store of its asset. Before, each has a stream of its own, and begins
    ``lookback`` seconds ago whenever it is started.

    :param oxen_conn_id: Airflow connection of the hub.
    :param namespace: whose generations. None: the connection's; where that has none, of all that the hub's
        stream tells the key.
    :param models: of these models; None: of any.
    :param statuses: which ended so: ``succeeded``, ``failed``, ``cancelled``. The stream does not tell of
        cancelled ones: they are seen when the history is looked at next.
    :param lookback: seconds before the start from which on ends are told, where there is no position yet.
    :raises ValueError: where an argument makes no sense.
    :raises ~airflow.exceptions.AirflowOptionalProviderFeatureException: on Airflow 2.
    """

    def __init__(
        self,
        oxen_conn_id: str = "oxen_default",
        namespace: str | None = None,
        models: Sequence[str] | None = None,
        statuses: Sequence[str] = ("succeeded",),
        lookback: float = 600.0,
    ) -> None:
        if not hasattr(base, "BaseEventTrigger"):
            raise AirflowOptionalProviderFeatureException(
                "OxenGenerationEventTrigger needs Airflow 3, which has AssetWatcher. On Airflow 2, "
                "OxenGenerationSensor waits for a generation."
            )
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.oxen_conn_id = _text("oxen_conn_id", oxen_conn_id)
        self.namespace = None if namespace is None else _text("namespace", namespace)
        self.models = None if models is None else _texts("models", models)
        self.statuses = _texts("statuses", statuses)
        self.lookback = _seconds("lookback", lookback)
        unknown = sorted(set(self.statuses) - set(STATUSES))
        if unknown:
            raise _WrongArgument(f"statuses may hold {', '.join(STATUSES)}, not {', '.join(unknown)}")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, which are plain JSON."""
        return (
            "airflow_provider_oxen.triggers.generation_events.OxenGenerationEventTrigger",
            {
                "oxen_conn_id": self.oxen_conn_id,
                "namespace": self.namespace,
                "models": self.models,
                "statuses": self.statuses,
                "lookback": self.lookback,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the stream alone: where Airflow shares none, it keeps no position either."""
        await loaded()
        from airflow_provider_oxen.hooks.oxen import OxenHook
        from airflow_provider_oxen.waiting.cursor import Cursor
        from airflow_provider_oxen.waiting.registry import current
        from airflow_provider_oxen.waiting.wakeups import Wakeups

        follower = self._follower(Cursor(time.time() - self.lookback))
        wakeups = Wakeups(current().listener(OxenHook(self.oxen_conn_id)))
        try:
            async for wakeup in wakeups:
                for event in await self._events(follower, wakeup):
                    yield event
        finally:
            await wakeups.aclose()

    def shared_stream_key(self) -> Hashable | None:
        """All watchers of one connection share one stream."""
        if not hasattr(BaseEventTrigger, "create_shared_stream_producer"):
            return None
        return ("oxen-events", self.oxen_conn_id)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> EventProducer:
        """Open the stream of a connection; called once for all that share it."""
        from airflow_provider_oxen.triggers._watchers import EventProducer

        return EventProducer(kwargs["oxen_conn_id"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Wakeup]) -> AsyncIterator[TriggerEvent]:
        """Follow the stream that is shared, from the position of this watcher."""
        await loaded()
        from airflow_provider_oxen.triggers._watchers import Positions, wake_now

        positions = Positions(self.asset_state_store, self._key())
        follower = self._follower(await positions.load(self.lookback))
        wake_now(self.oxen_conn_id)
        async for wakeup in shared_stream:
            for event in await self._events(follower, wakeup):
                yield event
            if not follower.is_behind:
                position = follower.cursor.as_json()
                # Airflow says when these events are in its database: not before may the position move.
                wakeup.after[positions] = _save(positions, position)

    def _follower(self, cursor: Cursor) -> GenerationFollower:
        from airflow_provider_oxen.waiting.follower import Filter, GenerationFollower

        wanted = Filter(self.namespace, frozenset(self.models or ()), frozenset(self.statuses))
        return GenerationFollower(wanted, cursor)

    async def _events(self, follower: GenerationFollower, wakeup: Wakeup) -> list[TriggerEvent]:
        from airflow_provider_oxen.triggers.events import ended_event

        return [
            base.TriggerEvent(ended_event(row, follower.namespace, wakeup.redact))
            for row in await follower.follow(wakeup)
        ]

    def _key(self) -> str:
        """Return the key of the position: another lookback does not make another watcher."""
        what = [self.oxen_conn_id, self.namespace, sorted(self.models or []), sorted(self.statuses)]
        return f"oxen-events:{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}"


def _save(positions: Positions, position: dict[str, Any]) -> Callable[[], Awaitable[None]]:
    return lambda: positions.save(position)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongArgument(f"{name} must be a text that is not empty, not {value!r}")
    return value


def _texts(name: str, values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise _WrongArgument(f"{name} must be a list of texts, not {values!r}")
    # In one order, so that two watchers that want the same are one trigger.
    return sorted({_text(f"each of {name}", value) for value in values})


def _seconds(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    raise _WrongArgument(f"{name} must be a number of seconds from 0 to {_LONGEST}, not {value!r}")
