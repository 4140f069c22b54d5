"""Run a Dag when a generation has ended on the hub, whoever asked for it (Airflow 3)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow.triggers import base

from airflow_provider_oxen.triggers._base import loaded, serialized

if TYPE_CHECKING:
    from airflow.triggers.base import BaseEventTrigger, TriggerEvent

    from airflow_provider_oxen.triggers._watchers import EventProducer
    from airflow_provider_oxen.waiting.cursor import Cursor
    from airflow_provider_oxen.waiting.follower import GenerationFollower
    from airflow_provider_oxen.waiting.wakeups import Wakeup
else:
    # Airflow 2.11 has no such class; the module can be imported there anyway.
    BaseEventTrigger = getattr(base, "BaseEventTrigger", base.BaseTrigger)

__all__ = ["OxenGenerationEventTrigger"]

STATUSES = ("succeeded", "failed", "cancelled")
"""How a generation can end."""

_LONGEST = 7 * 86400
"""Longest ``lookback``, in seconds."""


class _WrongArgument(TypeError, ValueError):
    """An argument that makes no sense.

    The author of a Dag sees a ``ValueError``. Airflow's triggerer, however, treats only a ``TypeError`` as
    the fault of this one trigger, and keeps running.
    """


@dataclass(eq=False, repr=False)
class OxenGenerationEventTrigger(BaseEventTrigger):
    """Fire an event for an asset whenever a generation in the hub's queue has ended, for ``AssetWatcher``.

    The trigger listens to the hub's stream of events. It also reads the hub's history, for what the stream
    leaves out and for what ended while nobody listened. Each event is delivered at least once:
    ``docs/events.md`` says which repeats are possible. The trigger never submits, and its arguments hold
    neither the key nor a link.

    Needs Airflow 3. With 3.3 and newer, all watchers of a connection in a triggerer share one stream, and
    each watcher keeps its position in the state store of its asset. Before 3.3, each watcher has its own
    stream, and begins ``lookback`` seconds ago whenever it is started.

    :param oxen_conn_id: Airflow connection of the hub.
    :param namespace: whose generations. None: the connection's namespace; if it has none, those of all
        namespaces that the hub's stream shows for the key.
    :param models: only generations of these models. None: of any model.
    :param statuses: only generations that ended with one of these: ``succeeded``, ``failed``, ``cancelled``.
        The stream does not report cancelled ones: the trigger sees them at its next look at the history.
    :param lookback: without a stored position, begin this many seconds before the start.
    :raises ValueError: if an argument makes no sense.
    :raises ~airflow.exceptions.AirflowOptionalProviderFeatureException: on Airflow 2.
    """

    oxen_conn_id: str = "oxen_default"
    namespace: str | None = None
    models: Sequence[str] | None = None
    statuses: Sequence[str] = ("succeeded",)
    lookback: float = 600.0

    def __post_init__(self) -> None:
        if not hasattr(base, "BaseEventTrigger"):
            raise AirflowOptionalProviderFeatureException(
                "OxenGenerationEventTrigger needs Airflow 3, which has AssetWatcher. On Airflow 2, "
                "OxenGenerationSensor waits for a generation."
            )
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        _text("oxen_conn_id", self.oxen_conn_id)
        if self.namespace is not None:
            _text("namespace", self.namespace)
        self.models = None if self.models is None else _texts("models", self.models)
        self.statuses = _texts("statuses", self.statuses)
        self.lookback = _seconds("lookback", self.lookback)
        unknown = sorted(set(self.statuses) - set(STATUSES))
        if unknown:
            raise _WrongArgument(f"statuses may hold {', '.join(STATUSES)}, not {', '.join(unknown)}")

    serialize = serialized

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow a stream of its own, without a stored position, where Airflow shares no stream."""
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
        """Return the key of the shared stream: all watchers of one connection share one."""
        if not hasattr(BaseEventTrigger, "create_shared_stream_producer"):
            return None
        return ("oxen-events", self.oxen_conn_id)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> EventProducer:
        """Open the stream of a connection. Airflow calls this once for all watchers that share it."""
        from airflow_provider_oxen.triggers._watchers import EventProducer

        return EventProducer(kwargs["oxen_conn_id"])

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Wakeup]) -> AsyncIterator[TriggerEvent]:
        """Follow the shared stream from this watcher's stored position."""
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
                # The position may move only when Airflow says that these events are in its database.
                wakeup.after[positions] = partial(positions.save, position)

    def _follower(self, cursor: Cursor) -> GenerationFollower:
        from airflow_provider_oxen.waiting.follower import Filter, GenerationFollower

        wanted = Filter(self.namespace, frozenset(self.models or ()), frozenset(self.statuses))
        return GenerationFollower(wanted, cursor)

    async def _events(self, follower: GenerationFollower, wakeup: Wakeup) -> list[TriggerEvent]:
        from airflow_provider_oxen.triggers.events import ended_event

        return [
            base.TriggerEvent(ended_event(row, follower.namespace, wakeup.listener.redact))
            for row in await follower.follow(wakeup)
        ]

    def _key(self) -> str:
        """Return the key of the stored position; it does not depend on ``lookback``."""
        what = [self.oxen_conn_id, self.namespace, sorted(self.models or []), sorted(self.statuses)]
        return f"oxen-events:{hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]}"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongArgument(f"{name} must be a text that is not empty, not {value!r}")
    return value


def _texts(name: str, values: object) -> list[str]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise _WrongArgument(f"{name} must be a list of texts, not {values!r}")
    # Sorted, so that two watchers with the same arguments are one trigger.
    return sorted({_text(f"each of {name}", value) for value in values})


def _seconds(name: str, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    raise _WrongArgument(f"{name} must be a number of seconds from 0 to {_LONGEST}, not {value!r}")
