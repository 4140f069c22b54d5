"""The trigger of a generation: one event, whatever happens, and nothing is ever cancelled by accident."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from airflow_provider_oxen.jobs import waiting
from airflow_provider_oxen.jobs.polling import End
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.triggers import loading
from airflow_provider_oxen.triggers.events import GENERATION, read_event
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

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
        kwargs = {
            "generation_id": "8d1f",
            "oxen_conn_id": "another",
            "namespace": "team",
            "poll_interval": 2.5,
            "deadline": 1780000000.25,
            "patience": 1770000000.0,
            "cancel_on_kill": True,
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
        first = {
            "generation_id": "8d1f",
            "oxen_conn_id": "oxen_default",
            "namespace": None,
            "poll_interval": 5.0,
            "deadline": None,
            "patience": 0.0,
            "cancel_on_kill": False,
        }

        assert OxenGenerationTrigger(**first).generation_id == "8d1f"
        assert OxenGenerationTrigger(generation_id="8d1f").serialize()[1] == first


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

        monkeypatch.setattr(waiting, "wait", wait)

        end = await end_of(waiting_for("8d1f"))

        assert end == End("unreachable", "ZeroDivisionError: no such https://f.example/a")


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

    async def test_it_never_blocks_the_loop(self, connected, order, caplog):
        await loading.loaded()
        connected.settings.latency = 0.3
        triggers = [waiting_for(order()) for _ in range(20)]
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 0.25
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
        assert not [record for record in caplog.records if record.name == "asyncio" and "took" in record.msg]
        # Not the longest: the hub runs in this process, and others may run on this machine.
        assert sorted(lags)[len(lags) // 2] < 0.1

    async def test_what_it_needs_is_imported_off_the_loop(self, monkeypatch):
        imported: list[tuple[str, Any]] = []

        def import_module(name: str) -> None:
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
            imported.append((name, None))

        monkeypatch.setattr(loading, "_done", False)
        monkeypatch.setattr(loading, "import_module", import_module)

        await loading.loaded()
        await loading.loaded()

        assert [name for name, _ in imported] == list(loading._MODULES)


class TestKill:
    """Airflow calls ``on_kill`` only when somebody ends the task in the user interface."""

    async def test_job_goes_on_unless_told_otherwise(self, connected, order, logged):
        id = order()

        await waiting_for(id).on_kill()

        assert connected.jobs()[0]["status"] == "processing"
        assert f"Generation {id} goes on" in str(logged)

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
        assert "It may go on and be paid for." in str(logged)
