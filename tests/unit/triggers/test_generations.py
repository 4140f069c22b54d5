"""The trigger of a generation: one event, whatever happens, and nothing is ever cancelled by accident."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_oxen.jobs.effects import End
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.triggers import _base
from airflow_provider_oxen.triggers.events import GENERATION, read_event
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger
from airflow_provider_oxen.waiting import registry

from .conftest import KEY, events, rebuilt

TICK = 0.02


def waiting_for(id: str, **kwargs: Any) -> OxenGenerationTrigger:
    return OxenGenerationTrigger(id, **{"poll_interval": TICK, **kwargs})


async def end_of(trigger: OxenGenerationTrigger) -> End:
    [event] = await events(trigger)
    assert set(event) == {"event", "generation_id", "status", "message"}
    return read_event(event, trigger.generation_id)


class TestArguments:
    def test_they_survive_airflows_serialization(self):
        kwargs: dict[str, Any] = {
            "generation_id": "8d1f",
            "oxen_conn_id": "another",
            "namespace": "team",
            "poll_interval": 2.5,
            "deadline": 1780000000.25,
            "patience": 1770000000.0,
            "cancel_on_kill": True,
            "deferred_at": 1760000000.5,
        }

        trigger = rebuilt(OxenGenerationTrigger(**kwargs))

        assert type(trigger) is OxenGenerationTrigger
        assert trigger.serialize()[1] == kwargs

    def test_unset_ones_survive_it_too(self):
        trigger = OxenGenerationTrigger("8d1f")

        assert rebuilt(trigger).serialize() == trigger.serialize()

    def test_they_are_plain_json_without_the_key(self, connected):
        _, kwargs = OxenGenerationTrigger("8d1f").serialize()

        text = json.dumps(kwargs)
        assert json.loads(text) == kwargs
        assert KEY not in text

    def test_those_of_the_first_version_stay_loadable(self):
        # What stands in databases out there; add to it, take nothing away.
        first: dict[str, Any] = {
            "generation_id": "8d1f",
            "oxen_conn_id": "oxen_default",
            "namespace": None,
            "poll_interval": 5.0,
            "deadline": None,
            "patience": 0.0,
            "cancel_on_kill": False,
        }

        assert OxenGenerationTrigger(**first).generation_id == "8d1f"
        assert OxenGenerationTrigger(generation_id="8d1f").serialize()[1] == {**first, "deferred_at": None}


class TestEvent:
    async def test_success_after_rebuilding(self, connected, order):
        connected.settings.latency = 0

        [event] = await events(rebuilt(waiting_for(order())))

        assert event == {
            "event": GENERATION,
            "generation_id": connected.jobs()[0]["generation_id"],
            "status": "succeeded",
            "message": "",
        }

    async def test_failure(self, connected, order):
        connected.settings.latency = 0
        connected.fail(Fault(on="enqueue", kind="fails", message="see https://f.example/a?X-Signature=s"))

        assert await end_of(waiting_for(order())) == End("failed", "see https://f.example/a")

    async def test_cancellation(self, connected, order):
        connected.settings.latency = 0
        connected.fail(Fault(on="enqueue", kind="is_cancelled"))

        assert (await end_of(waiting_for(order()))).status == "cancelled"

    async def test_deadline(self, connected, order):
        assert await end_of(waiting_for(order(), deadline=time.time())) == End("timed_out")

    async def test_unknown_id(self, connected):
        assert (await end_of(waiting_for("nobody-knows"))).status == "unknown"

    async def test_hub_that_is_gone(self, hub, connect):
        connect(host=hub.url)
        hub.close()

        end = await end_of(waiting_for("8d1f"))

        assert end.status == "unreachable"
        assert "Could not reach" in end.message

    async def test_wrong_key(self, hub, connect):
        connect(host=hub.url, password="another-key-that-must-not-leak")

        end = await end_of(waiting_for("8d1f"))

        assert end.status == "unreachable"
        assert "The API key is missing or wrong" in end.message
        assert "another-key" not in end.message

    async def test_connection_that_makes_no_sense(self, connect):
        connect(host="ftp://hub.example")

        end = await end_of(waiting_for("8d1f"))

        assert end.status == "unreachable"
        assert "host must be a URL" in end.message

    async def test_connection_that_does_not_exist(self):
        end = await end_of(waiting_for("8d1f", oxen_conn_id="no_such"))

        assert end.status == "unreachable"
        assert "no_such" in end.message

    async def test_whatever_goes_wrong(self, connected, monkeypatch):
        async def wait(*_: Any, **__: Any) -> End:
            raise ZeroDivisionError("no such https://f.example/a?X-Signature=s")

        monkeypatch.setattr(registry, "wait", wait)

        end = await end_of(waiting_for("8d1f"))

        assert end == End("unreachable", "ZeroDivisionError: no such https://f.example/a")


class TestPush:
    async def test_an_event_of_the_hub_fires_it_long_before_the_next_look(self, connected, order):
        id = order()
        told = asyncio.create_task(end_of(waiting_for(id, poll_interval=3600)))
        async with asyncio.timeout(10):
            while not connected.streams():
                await asyncio.sleep(0.01)
        connected.settings.clock_ahead += 7200

        assert await told == End("succeeded")
        assert [seen["path"] for seen in connected.requests() if seen["method"] == "GET"] == [
            "/api/events",
            f"/api/ai/queue/{id}",
        ]


class TestManners:
    async def test_it_only_asks(self, connected, order):
        connected.settings.latency = 0
        id = order()
        before = len(connected.requests())

        await events(waiting_for(id))

        assert {seen["method"] for seen in connected.requests()[before:]} == {"GET"}

    async def test_cancelling_it_is_no_event_and_cancels_no_job(self, connected, order):
        trigger = waiting_for(order(), cancel_on_kill=True)
        task = asyncio.create_task(events(trigger))
        await asyncio.sleep(5 * TICK)

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await trigger.cleanup()

        assert {seen["method"] for seen in connected.requests()} == {"POST", "GET"}
        assert connected.jobs()[0]["status"] == "processing"

    async def test_it_never_blocks_the_loop(self, connected, order):
        await _base.loaded()
        connected.settings.latency = 0.3
        triggers = [waiting_for(order()) for _ in range(20)]
        loop = asyncio.get_running_loop()
        lags: list[float] = []

        async def probe() -> None:
            while True:
                before = loop.time()
                await asyncio.sleep(0.005)
                lags.append(loop.time() - before - 0.005)

        probing = asyncio.create_task(probe())
        ends = await asyncio.gather(*map(end_of, triggers))
        probing.cancel()

        assert set(ends) == {End("succeeded")}
        # A look that blocks holds it up for as long as its answer takes. Not the longest counts: the hub
        # runs in this process, and others may run on this machine.
        assert len([lag for lag in lags if lag > 0.25]) < len(lags) / 5

    async def test_what_it_needs_is_imported_off_the_loop(self, monkeypatch):
        imported: list[tuple[str, Any]] = []

        def import_module(name: str) -> None:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            imported.append((name, None))

        monkeypatch.setattr(_base, "_done", False)
        monkeypatch.setattr(_base, "import_module", import_module)

        await _base.loaded()
        await _base.loaded()

        assert [name for name, _ in imported] == list(_base._MODULES)


class TestKill:
    """Airflow calls ``on_kill`` only when somebody ends the task in the user interface."""

    async def test_job_goes_on_unless_told_otherwise(self, connected, order, logged):
        id = order()

        await waiting_for(id).on_kill()

        assert connected.jobs()[0]["status"] == "processing"
        assert f"Generation {id} continues" in str(logged)

    async def test_job_is_cancelled_where_that_is_asked_for(self, connected, order, logged):
        id = order()

        await rebuilt(waiting_for(id, cancel_on_kill=True)).on_kill()

        assert connected.jobs()[0]["status"] == "cancelled"
        assert f"Generation {id} was cancelled." in str(logged)

    async def test_job_that_had_ended_is_told(self, connected, order, logged):
        connected.settings.latency = 0
        id = order()

        await waiting_for(id, cancel_on_kill=True).on_kill()

        assert connected.jobs()[0]["status"] == "succeeded"
        assert f"Generation {id} was not cancelled: The hub answered 'already finished'" in str(logged)

    async def test_hub_that_does_not_answer_is_told(self, connected, order, logged, monkeypatch):
        monkeypatch.setattr("airflow_provider_oxen.triggers.generations._KILL_SECONDS", 0.05)
        connected.fail(Fault(on="cancel", kind="hold", times=None))
        id = order()

        async with asyncio.timeout(10):
            await waiting_for(id, cancel_on_kill=True).on_kill()

        assert f"Generation {id} could not be cancelled" in str(logged)
        assert "It may continue and be paid for." in str(logged)


@pytest.mark.parametrize("held", [False, True], ids=["waiting", "holding-its-end-back"])
async def test_airflows_word_for_a_persons_action_comes_through(connected, order, hub, held, monkeypatch):
    """By it alone Airflow 3.3 tells a task that was marked as success from a triggerer that shuts down."""
    wait, holding = OxenGenerationTrigger.wait, asyncio.Event()

    async def noting(self: OxenGenerationTrigger) -> Any:
        event = await wait(self)
        holding.set()
        return event

    monkeypatch.setattr(_base, "SECONDS", 600.0)
    monkeypatch.setattr(OxenGenerationTrigger, "wait", noting)
    hub.settings.latency = 0 if held else 3600
    trigger, before = waiting_for(order(), deferred_at=time.time()), len(hub.requests())
    task = asyncio.ensure_future(events(trigger))
    async with asyncio.timeout(60):
        while not (holding.is_set() if held else len(hub.requests()) > before):
            await asyncio.sleep(0.01)

    task.cancel("__airflow_user_action__")

    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("__airflow_user_action__",)


async def test_connection_that_is_not_there_is_named():
    end = await end_of(waiting_for("8d1f", oxen_conn_id="nowhere"))

    assert end.status == "unreachable"
    assert "The Airflow connection 'nowhere' is not defined: create it, or set oxen_conn_id" in end.message
