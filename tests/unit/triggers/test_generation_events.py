"""The trigger that watches: what ends is told at least once, by whomever it was asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException
from airflow.triggers import base

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.triggers.events import ENDED
from airflow_provider_oxen.triggers.generation_events import OxenGenerationEventTrigger
from airflow_provider_oxen.waiting import follower, listener, wakeups
from airflow_provider_oxen.waiting.listener import EventListener
from airflow_provider_oxen.waiting.wakeups import Wakeup, Wakeups

from .conftest import KEY, rebuilt

watches = pytest.mark.skipif(not hasattr(base, "BaseEventTrigger"), reason="AssetWatcher came with Airflow 3")
shares = pytest.mark.skipif(
    not hasattr(getattr(base, "BaseEventTrigger", None), "create_shared_stream_producer"),
    reason="Airflow shares streams, and keeps positions, from 3.3 on",
)

KWARGS: dict[str, Any] = {
    "oxen_conn_id": "another",
    "namespace": "team",
    "models": ["a", "b"],
    "statuses": ["failed", "succeeded"],
    "lookback": 60.0,
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeups, "GATHER", 0.02)
    monkeypatch.setattr(listener, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(follower, "LATE", (0.02, 0.05, 0.1))


@pytest.fixture
def order(hub) -> Callable[..., list[str]]:
    """Put jobs into the queue, which end at once, and return their ids."""
    hub.settings.latency = 0

    def order(number: int = 1, **parameters: Any) -> list[str]:
        body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
        with Client(Settings(base_url=hub.url, api_key=KEY)) as client:
            request = GenerateRequest.model_validate(body)
            return [client.send(queue.enqueue(request))[0].generation_id for _ in range(number)]

    return order


@pytest.mark.skipif(hasattr(base, "BaseEventTrigger"), reason="for Airflow 2")
def test_airflow_2_has_nothing_to_watch_with():
    with pytest.raises(
        AirflowOptionalProviderFeatureException, match="needs Airflow 3, which has AssetWatcher"
    ):
        OxenGenerationEventTrigger()


@watches
class TestArguments:
    def test_they_survive_airflows_serialization(self):
        trigger = rebuilt(OxenGenerationEventTrigger(**KWARGS))

        assert type(trigger) is OxenGenerationEventTrigger
        assert trigger.serialize()[1] == KWARGS

    def test_those_of_a_watcher_survive_it_too(self):
        from airflow.sdk import Asset, AssetWatcher
        from airflow.serialization.encoders import encode_asset_like, encode_trigger

        trigger = OxenGenerationEventTrigger()
        asset = Asset("ended", watchers=[AssetWatcher(name="oxen", trigger=trigger)])

        [watcher] = json.loads(json.dumps(encode_asset_like(asset)))["watchers"]

        assert watcher["trigger"] == encode_trigger(trigger) == encode_trigger(rebuilt(trigger))
        assert KEY not in json.dumps(watcher)

    def test_those_of_the_first_version_stay_loadable(self):
        # What stands in databases out there; add to it, take nothing away.
        first: dict[str, Any] = {
            "oxen_conn_id": "oxen_default",
            "namespace": None,
            "models": None,
            "statuses": ["succeeded"],
            "lookback": 600.0,
        }

        assert OxenGenerationEventTrigger(**first).serialize()[1] == first
        assert OxenGenerationEventTrigger().serialize()[1] == first

    def test_the_same_in_another_order_is_the_same_trigger(self):
        one = OxenGenerationEventTrigger(models=("b", "a", "b"), statuses=("succeeded", "failed"), lookback=5)
        other = OxenGenerationEventTrigger(models=["a", "b"], statuses=["failed", "succeeded"], lookback=5.0)

        assert one.serialize() == other.serialize()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"oxen_conn_id": ""}, "oxen_conn_id must be a text that is not empty, not ''"),
            ({"namespace": " "}, "namespace must be a text that is not empty, not ' '"),
            ({"models": "z"}, "models must be a list of texts, not 'z'"),
            ({"models": []}, r"models must be a list of texts, not \[\]"),
            ({"models": [7]}, "each of models must be a text that is not empty, not 7"),
            ({"models": 7}, "models must be a list of texts, not 7"),
            ({"statuses": ["done"]}, "statuses may hold succeeded, failed, cancelled, not done"),
            ({"statuses": ()}, "statuses must be a list"),
            ({"lookback": -1}, "lookback must be a number of seconds from 0 to 604800, not -1"),
            ({"lookback": True}, "lookback must be a number"),
            ({"lookback": float("nan")}, "lookback must be a number"),
            ({"lookback": "600"}, "lookback must be a number"),
        ],
    )
    def test_wrong_ones_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message) as caught:
            OxenGenerationEventTrigger(**arguments)

        # Airflow's triggerer takes this one as the trigger's own fault; any other would end it.
        assert isinstance(caught.value, TypeError)


@watches
class TestAlone:
    """As before Airflow 3.3: each with a stream of its own."""

    async def test_ends_are_told_after_rebuilding(self, connected, order, logged):
        before = order()
        told = rebuilt(OxenGenerationEventTrigger()).run()

        async with asyncio.timeout(10):
            [first] = before
            event = json.loads(json.dumps((await anext(told)).payload))
            [second] = order(target_namespace="local-user")
            later = (await anext(told)).payload
        await told.aclose()

        times = event.pop("enqueued_at"), event.pop("completed_at")
        assert all(isinstance(moment, float) for moment in times)
        assert event == {
            "event": ENDED,
            "generation_id": first,
            "status": "succeeded",
            "model": "z-image-turbo",
            "namespace": None,
            "media_type": "image",
            "message": "",
            "retryable": None,
            "cost": 0.01,
        }
        assert (later["generation_id"], later["namespace"]) == (second, "local-user")
        assert "signature" not in str(logged)
        await closed(connected)

    @pytest.mark.parametrize(("lookback", "told"), [(7200.0, [0, 1, 2]), (1800.0, [1, 2]), (60.0, [2])])
    async def test_lookback_says_from_when_on_ends_are_told(self, connected, order, lookback, told):
        wanted = []
        for age in (3600, 600, 0):
            connected.settings.clock_ahead = -age
            wanted += order()
        events: Any = OxenGenerationEventTrigger(lookback=lookback).run()

        async with asyncio.timeout(10):
            heard = [(await anext(events)).payload["generation_id"] for _ in told]
        await events.aclose()

        assert heard == [wanted[number] for number in told]

    async def test_hub_whose_clock_is_behind_is_heard_from_the_first_moment(self, connected, order):
        connected.settings.clock_ahead = -7200
        [wanted] = order()
        events: Any = OxenGenerationEventTrigger(lookback=60).run()

        async with asyncio.timeout(10):
            payload = (await anext(events)).payload
        await events.aclose()

        assert payload["generation_id"] == wanted

    async def test_failures_say_why_without_key_and_link(self, connected, order):
        connected.fail(
            Fault(
                "fails", on="enqueue", message=f"{KEY} see https://f.example/a?X-Signature=s " + "and " * 250
            )
        )
        order()
        told: Any = OxenGenerationEventTrigger(statuses=["failed"]).run()

        async with asyncio.timeout(10):
            payload = (await anext(told)).payload
        await told.aclose()

        assert payload["status"] == "failed"
        assert payload["message"].startswith("*** see https://f.example/a and and")
        assert len(payload["message"]) == 300
        assert KEY not in json.dumps(payload)

    async def test_one_that_is_cancelled_leaves_nothing(self, connected, order):
        async def follow() -> None:
            async for _ in OxenGenerationEventTrigger().run():
                pass

        following = asyncio.create_task(follow())
        async with asyncio.timeout(10):
            while not connected.streams():
                await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

        await closed(connected)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def test_without_airflows_help_nothing_is_shared(self, monkeypatch):
        from airflow_provider_oxen.triggers import generation_events

        monkeypatch.setattr(generation_events, "BaseEventTrigger", base.BaseTrigger)
        assert OxenGenerationEventTrigger().shared_stream_key() is None


async def closed(hub: Any) -> None:
    async with asyncio.timeout(10):
        while hub.streams():
            await asyncio.sleep(0.01)


class Store:
    """The state store of one asset, as Airflow 3.3.2 hands it out."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    async def aget(self, key: str) -> Any:
        text = self.values.get(key)
        return None if text is None else json.loads(text)

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)

    def told(self) -> list[str]:
        return [id for text in self.values.values() for id in json.loads(text)["told"]]


class Triggerer:
    """Airflow's own sharing of streams, without its database.

    :ivar persists: whether what was told is said to be in the database.
    """

    def __init__(self) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self.manager = SharedStreamManager()
        self.told: dict[int, list[str]] = {}
        self.payloads: list[Any] = []
        self.persists = True
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._unsaid: list[int] = []

    def start(self, store: Any, **arguments: Any) -> int:
        number = len(self.tasks) + 1
        trigger = rebuilt(OxenGenerationEventTrigger(**arguments))
        trigger.trigger_id, trigger.asset_state_store = number, store
        self.told[number] = []
        self.tasks[number] = asyncio.create_task(self._run(number, trigger))
        return number

    async def _run(self, number: int, trigger: Any) -> None:
        # As TriggerRunner.run_trigger does.
        key = trigger.shared_stream_key()
        stream = self.manager.subscribe(trigger_id=number, trigger=trigger, key=key)
        try:
            async for event in trigger.filter_shared_stream(stream):
                self.payloads.append(event.payload)
                self.told[number].append(event.payload["generation_id"])
                seq = self.manager.bind_pending_event(trigger_id=number, key=key)
                assert seq is not None
                self._unsaid.append(seq)
        finally:
            await self.manager.unsubscribe(number, key)

    def persist(self) -> None:
        self.manager.confirm_persisted(self._unsaid)
        self._unsaid.clear()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                for task in self.tasks.values():
                    if task.done() and not task.cancelled():
                        task.result()
                if self.persists:
                    self.persist()
                await asyncio.sleep(0.005)

    async def stop(self, *numbers: int) -> None:
        for number in numbers or tuple(self.tasks):
            self.tasks[number].cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@shares
class TestShared:
    @pytest.fixture
    async def triggerer(self) -> AsyncIterator[Triggerer]:
        running = Triggerer()
        yield running
        await running.stop()
        await running.manager.stop_all()

    async def test_all_watchers_of_a_connection_share_one_stream(self, connected, order, triggerer):
        stores = [Store() for _ in range(3)]
        numbers = [triggerer.start(store, lookback=float(n)) for n, store in enumerate(stores)]
        await triggerer.until(lambda: all(store.values for store in stores))
        wanted = order(2)

        await triggerer.until(lambda: all(len(triggerer.told[number]) == 2 for number in numbers))

        assert all(sorted(triggerer.told[number]) == sorted(wanted) for number in numbers)
        assert connected.streams() == 1
        asked = [seen["path"] for seen in connected.requests()]
        assert asked.count("/api/events") == 1
        # Each row is asked for once for all.
        assert len([path for path in asked if path.startswith("/api/ai/generations/")]) == 2

    async def test_one_that_joins_later_catches_up_by_itself(self, connected, order, triggerer):
        first = triggerer.start(Store())
        await triggerer.until(connected.streams)
        before = order()
        await triggerer.until(lambda: triggerer.told[first] == before)

        second = triggerer.start(Store(), lookback=60.0)

        await triggerer.until(lambda: triggerer.told[second] == before)
        assert triggerer.told[first] == before

    async def test_one_that_is_cancelled_harms_no_other(self, connected, order, triggerer):
        first, second = triggerer.start(Store()), triggerer.start(Store(), lookback=60.0)
        await triggerer.until(connected.streams)
        triggerer.tasks[first].cancel()
        await asyncio.gather(triggerer.tasks.pop(first), return_exceptions=True)

        wanted = order()

        await triggerer.until(lambda: triggerer.told[second] == wanted)
        assert connected.streams() == 1
        await triggerer.stop()
        await closed(connected)

    async def test_what_ends_while_the_triggerer_is_down_is_told_and_nothing_twice(
        self, connected, order, triggerer
    ):
        store = Store()
        first = triggerer.start(store)
        await triggerer.until(connected.streams)
        told = order(2)
        await triggerer.until(lambda: sorted(store.told()) == sorted(told))
        await triggerer.stop()
        missed = order(3)

        # A lookback that would reach no missed one, and every told one.
        second = triggerer.start(store, lookback=0.0)

        await triggerer.until(lambda: sorted(triggerer.told[second]) == sorted(missed))
        assert sorted(triggerer.told[first]) == sorted(told)

    async def test_a_stream_that_is_cut_loses_nothing(self, connected, order, triggerer):
        number = triggerer.start(Store())
        await triggerer.until(connected.streams)
        connected.fail(Fault("drop_before", on="events", times=2))
        connected.drop_streams()
        await closed(connected)
        missed = order(3)

        await triggerer.until(lambda: len(triggerer.told[number]) == 3)

        assert sorted(triggerer.told[number]) == sorted(missed)

    async def test_the_position_moves_when_the_events_are_safe_and_not_before(
        self, connected, order, triggerer
    ):
        """A triggerer that is lost in between tells them again."""
        store = Store()
        first = triggerer.start(store)
        await triggerer.until(lambda: store.values)
        triggerer.persists = False
        ids = order()
        await triggerer.until(lambda: triggerer.told[first] == ids)
        connected.drop_streams()
        await triggerer.until(lambda: rings_heard(connected) == 2)
        assert store.told() == []
        await triggerer.stop()

        triggerer.persists = True
        second = triggerer.start(store)

        await triggerer.until(lambda: store.told() == ids)
        assert triggerer.told[second] == ids

    async def test_a_history_that_cannot_be_read_does_not_move_it(self, connected, order, triggerer):
        store = Store()
        connected.fail(Fault("status", on="history", times=None))
        number = triggerer.start(store)
        await triggerer.until(connected.streams)
        for count in (1, 2, 3):
            order()
            await triggerer.until(lambda count=count: len(triggerer.told[number]) == count)

        assert store.values == {}

    async def test_a_ring_that_was_not_stored_moves_nothing(self):
        from airflow.triggers.shared_stream import AdvanceItem, AdvanceOutcome

        from airflow_provider_oxen.triggers._watchers import EventProducer

        moved = []

        def ring(name: str) -> Wakeup:
            async def move() -> None:
                moved.append(name)

            ring = Wakeup(Wakeups(EventListener(OxenHook())), (), False)
            ring.after["watcher"] = move
            return ring

        producer = EventProducer("oxen_default")
        clean, failed = AdvanceOutcome(acked=2, failed=0), AdvanceOutcome(acked=1, failed=1)
        batch = [
            AdvanceItem(ring("first"), clean),
            AdvanceItem(ring("second"), clean),
            AdvanceItem(ring("third"), failed),
        ]
        await producer.advance(batch)
        await producer.aclose()

        assert moved == ["second"]

    async def test_payloads_hold_neither_key_nor_link(self, connected, order, triggerer):
        triggerer.start(Store())
        await triggerer.until(connected.streams)
        order()
        await triggerer.until(lambda: triggerer.payloads)

        text = json.dumps(triggerer.payloads)
        assert KEY not in text
        assert "http" not in text
        assert "red cube" not in text

    async def test_each_watcher_of_an_asset_has_a_position_of_its_own(self, connected, order, triggerer):
        store = Store()
        one = triggerer.start(store, models=["z-image-turbo"])
        other = triggerer.start(store, models=["qwen-image"])
        await triggerer.until(connected.streams)
        mine, its = order(), order(model="qwen-image")

        await triggerer.until(lambda: sorted(store.told()) == sorted(mine + its))

        assert (triggerer.told[one], triggerer.told[other]) == (mine, its)
        assert len(store.values) == 2

    async def test_namespaces_are_kept_apart(self, connected, order, triggerer):
        org = triggerer.start(Store(), namespace="local-org")
        own = triggerer.start(Store(), namespace="local-user")
        await triggerer.until(connected.streams)
        theirs, mine = order(target_namespace="local-org"), order()

        await triggerer.until(lambda: triggerer.told[org] and triggerer.told[own])

        assert (triggerer.told[org], triggerer.told[own]) == (theirs, mine)
        assert {payload["namespace"] for payload in triggerer.payloads} == {"local-org", "local-user"}


def rings_heard(hub: Any) -> int:
    return sum(seen["path"] == "/api/ai/generations" for seen in hub.requests())
