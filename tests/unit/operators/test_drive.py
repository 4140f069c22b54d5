"""A try may die at any step, and nothing that goes wrong after the payment costs the image."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import time_machine

from airflow_provider_oxen.api import deadline, queue
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.deadline import LAST, LOOK
from airflow_provider_oxen.api.errors import OxenImageError, OxenOvertaken, OxenPollError, OxenRouteNotFound
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.jobs.effects import Effects
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import NoRecordStore
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.tasks import effects, recording
from airflow_provider_oxen.tasks.arguments import TaskArguments
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.tasks.generations import Costs
from airflow_provider_oxen.tasks.running import Running
from airflow_provider_oxen.tasks.runtime import BlockingRuntime

from .scene import (
    Break,
    Scene,
    Struck,
    all_homes,
    all_modes,
    by_queue,
    dies,
    paid_once,
    stopped,
    with_record,
    without_record,
)

polled = pytest.mark.parametrize("mode", ["polled"])


# Death at any step.


EFFECTS = [name for name in vars(Effects) if not name.startswith("_")]


class Deaths:
    """Counts the effects of a task's first try and lets it die at one of them.

    :ivar number: of the effect, from 0.
    :ivar after: whether it was carried out, and only its outcome is lost.
    :ivar step: the name of the one that was reached.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = 0
        self.after = False
        self.step = ""
        self._steps = itertools.count()
        self._within = False
        for name in EFFECTS:
            monkeypatch.setattr(WorkerEffects, name, self._mortal(name, getattr(WorkerEffects, name)))

    def at(self, number: int, after: bool) -> None:
        self.number, self.after, self.step, self._steps = number, after, "", itertools.count()

    def _mortal(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        async def mortal(do: WorkerEffects, *arguments: Any) -> Any:
            if self._within:
                # Waiting is one effect, however often it looks.
                return await real(do, *arguments)
            dies = next(self._steps) == self.number
            if dies:
                self.step = name
            if dies and not self.after:
                raise Struck("killed")
            self._within = True
            try:
                # Where it defers, nothing is lost by a death after it: the task has left the worker.
                outcome = await real(do, *arguments)
            finally:
                self._within = False
            if dies:
                raise Struck("killed")
            return outcome

        return mortal


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@all_homes
@all_modes
def test_death_at_any_step_is_paid_for_once(cast, monkeypatch, mode, home, after):
    deaths = Deaths(monkeypatch)
    died: list[str] = []
    for number in range(40):
        scene: Scene = cast(number, lookup_grace=0.05)
        before = scene.paid
        deaths.at(number, after)
        played = scene.play()
        if not deaths.step:
            break
        died.append(deaths.step)
        if played.state == "success":
            assert scene.paid == before + 1
            assert not [name for name in scene.files if name.startswith(".")]
            continue
        # What a synchronous call has not put on record, nobody can look up.
        assert mode == "synchronous"
        assert "OxenOutcomeUnknown" in played.error
        # Whatever died before the request: the next try cannot know it where there is no record.
        assert scene.paid in (before, before + (deaths.step != "prepare"))
    assert {"prepare", "send", "keep"} <= set(died)


@pytest.mark.parametrize("mode", ["deferred"])
@all_homes
def test_death_at_any_step_after_deferral_is_paid_for_once(cast, monkeypatch):
    deaths = Deaths(monkeypatch)
    died = []
    for number in range(40):
        scene: Scene = cast(number)
        before = scene.paid
        deaths.at(10_000, True)

        def meanwhile(event: Any, scene: Scene = scene, number: int = number) -> Any:
            scene.meanwhile = lambda event: event
            deaths.at(number // 2, number % 2 == 1)
            return event

        scene.meanwhile = meanwhile
        played = scene.play()
        assert played.state == "success", played.error
        assert scene.paid == before + 1
        if not deaths.step:
            break
        died.append(deaths.step)
    assert {"row", "keep"} <= set(died)


# After the payment, the image counts for more than the record.

AFTERWARDS = {
    "written (submitted)": ("write", "submitted"),
    "written (answered)": ("write", "answered"),
}


@pytest.mark.parametrize(("done", "phase"), AFTERWARDS.values(), ids=AFTERWARDS)
@with_record
@by_queue
def test_record_that_cannot_be_written_after_the_payment_does_not_cost_the_image(scene, broken, done, phase):
    broken.fails = lambda asked, record: asked == done and bool(record) and record["phase"] == phase

    played = scene.play()

    assert played.state == "success"
    assert played.errors == []
    assert scene.sent == scene.paid == 1
    generation_id = played.result["generation_id"]
    job = f"a request for z-image-turbo, generation {generation_id}"
    assert f"The record of {job} could not be written ({phase})" in scene.logged


@with_record
@by_queue
def test_record_that_cannot_be_closed_does_not_cost_the_image(scene, broken):
    def fails(asked: str, record: Any) -> bool:
        return asked == "remove" or (bool(record) and record["phase"] == "kept")

    broken.fails = fails

    played = scene.play()

    assert played.state == "success"
    assert "could not be closed; the task continues." in scene.logged
    broken.fails = lambda asked, record: False
    assert scene.clear().state == "success"
    assert scene.paid == 1


@with_record
@by_queue
def test_record_that_cannot_be_taken_back_after_a_refusal_hides_no_refusal(scene, broken):
    broken.fails = lambda asked, record: asked == "write" and record["phase"] == "not_sent" and record["body"]
    scene.hub.fail(Fault("status", on="enqueue", status=402))

    message = stopped(scene, scene.play(), sent=1)

    assert "OxenCreditsError" in message
    assert "could not be written (not sent)" in scene.logged


@polled
@with_record
def test_record_is_written_again_where_the_store_fails_once(scene: Scene, broken: Break, monkeypatch):
    monkeypatch.setattr(recording, "_ATTEMPTS", 2)
    left = [1]

    def fails(asked: str, record: Any) -> bool:
        return bool(record) and record["phase"] == "submitted" and bool(left) and bool(left.pop())

    broken.fails = fails

    assert paid_once(scene, scene.play())
    assert "could not be written" not in scene.logged


# A kill.


def killed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow kill the first try while it waits, as its signal handler does."""
    look = WorkerEffects.row

    async def looked(self: WorkerEffects, generation_id: str) -> Any:
        row = await look(self, generation_id)
        monkeypatch.setattr(WorkerEffects, "row", look)
        scene.operator.on_kill()
        return row

    monkeypatch.setattr(WorkerEffects, "row", looked)


@all_homes
@polled
def test_kill_lets_the_generation_go_on_and_the_next_try_takes_it(scene, monkeypatch):
    scene.slow()
    killed(scene, monkeypatch)
    scene.between = scene.later

    played = scene.play()

    [error] = played.errors
    assert "The task was stopped while it waited." in str(error)
    generation_id = played.result["generation_id"]
    assert f"generation {generation_id} continues. The next try finds it." in scene.logged
    assert paid_once(scene, played)


@with_record
@polled
def test_kill_cancels_the_generation_where_the_user_says_so(scene, monkeypatch):
    scene.slow()
    killed(scene, monkeypatch)
    phases: list[Any] = []
    cancel = queue.cancel

    def noted(generation_id: str) -> Any:
        # The record says so before the hub is asked.
        phases.append(scene.record["phase"])
        return cancel(generation_id)

    monkeypatch.setattr(queue, "cancel", noted)
    scene.between = scene.quick

    played = scene.play(cancel_on_kill=True)

    assert phases == ["cancelling"]
    assert [job["status"] for job in scene.hub.jobs()] == ["cancelled", "succeeded"]
    assert paid_once(scene, played, sent=2, jobs=2)
    assert "Cancelled generation" in scene.logged


@pytest.mark.parametrize("cancel_on_kill", [True, False])
@with_record
@polled
def test_kill_after_the_wait_was_interrupted_does_the_same(scene, monkeypatch, cancel_on_kill):
    scene.slow()
    dies(monkeypatch, "row")

    def between() -> None:
        # Airflow does so once execution_timeout has struck.
        scene.operator.on_kill()
        scene.quick()

    scene.between = between

    played = scene.play(cancel_on_kill=cancel_on_kill)

    jobs = ["cancelled", "succeeded"] if cancel_on_kill else ["succeeded"]
    assert [job["status"] for job in scene.hub.jobs()] == jobs
    assert paid_once(scene, played, sent=len(jobs), jobs=len(jobs))


@with_record
@by_queue
def test_kill_before_the_answer_tells_that_the_next_try_looks(scene, monkeypatch):
    send = WorkerEffects.send

    async def sent(self: WorkerEffects, record: Record) -> Any:
        monkeypatch.setattr(WorkerEffects, "send", send)
        await send(self, record)
        scene.operator.on_kill()
        raise Struck("SIGTERM")

    monkeypatch.setattr(WorkerEffects, "send", sent)

    played = scene.play(cancel_on_kill=True)

    assert "The next try looks up what became of a request for z-image-turbo." in scene.logged
    assert paid_once(scene, played)


@all_homes
@all_modes
def test_kill_before_the_request_sends_nothing_and_the_next_try_does(scene, mode, home, monkeypatch):
    prepare = WorkerEffects.prepare

    async def killed(self: WorkerEffects, counter: int) -> Any:
        monkeypatch.setattr(WorkerEffects, "prepare", prepare)
        scene.operator.on_kill()
        return await prepare(self, counter)

    monkeypatch.setattr(WorkerEffects, "prepare", killed)
    seen: list[Any] = []
    scene.between = lambda: seen.append((scene.sent, scene.job))

    played = scene.play()

    if (mode, home) == ("synchronous", "none"):
        assert "No record can be kept of this task" in stopped(scene, played, sent=0)
        return
    assert "was stopped before it sent its request." in str(played.errors[0])
    assert seen == [(0, None)]
    assert paid_once(scene, played)


@all_modes
def test_kill_of_a_task_that_is_done_does_nothing(scene):
    scene.play(cancel_on_kill=True)
    asked = len(scene.hub.requests())

    scene.operator.on_kill()

    assert len(scene.hub.requests()) == asked


@with_record
@polled
def test_kill_that_cannot_cancel_says_so(scene, monkeypatch):
    scene.slow()
    killed(scene, monkeypatch)
    scene.hub.fail(Fault("status", on="cancel", status=500))
    scene.between = scene.later

    played = scene.play(cancel_on_kill=True)

    assert "could not be cancelled" in scene.logged
    assert paid_once(scene, played)


@with_record
@polled
def test_kill_of_a_generation_that_has_ended_meanwhile_takes_it(scene, monkeypatch):
    scene.slow()
    killed(scene, monkeypatch)
    cancel = queue.cancel

    def slowly(generation_id: str) -> Any:
        scene.later()
        return cancel(generation_id)

    monkeypatch.setattr(queue, "cancel", slowly)

    played = scene.play(cancel_on_kill=True)

    assert "had nothing to cancel" in scene.logged
    assert paid_once(scene, played)


# What an answer may hold.


@by_queue
def test_generation_that_nobody_asked_for_is_told(scene):
    ids = [{"generation_id": "first", "status": "queued"}, {"generation_id": "further", "status": "queued"}]
    scene.hub.fail(Fault("status", on="enqueue", status=200, body={"generations": ids}, billed=True))

    stopped(scene, scene.play(), sent=1)

    assert "The hub made another generation, further, that was not asked for." in scene.logged


@by_queue
@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", on="record", status=500),
        Fault("status", on="record", status=200, body={"generation": {"generation_id": "x", "cost": "much"}}),
        Fault("status", on="record", status=200, body={"generation": {"generation_id": "x", "cost": None}}),
        Fault("drop_before", on="record"),
    ],
    ids=["error", "no number", "not yet", "no answer"],
)
def test_cost_that_is_not_told_does_not_hold_up_the_image(scene, fault):
    scene.hub.fail(fault)

    played = scene.play()

    assert paid_once(scene, played)
    assert "cost" not in played.result
    assert played.result["generation_id"]


def test_record_that_names_no_image_is_an_error_and_not_an_empty_success(driver, record):
    with pytest.raises(OxenImageError, match=r"It may have been paid for\. The record of .* no image"):
        unsuspended(driver().keep(record.to("answered")))


# The lists of the hub, page by page.

UNKNOWN = {"error": {"type": "resource_not_found", "title": "Generation not found: g"}}


@pytest.fixture
def record() -> Record:
    return Record(
        phase="submitted",
        nonce="n",
        identity="i",
        time=0.0,
        endpoint="queue",
        body={"model": "z-image-turbo", "prompt": "A red cube", "seed": 7},
        origin="https://hub.example",
        fingerprint="f",
        generation_id="g",
    )


@pytest.fixture
def driver() -> Iterator[Callable[..., WorkerEffects]]:
    """Make a driver whose hub answers as told, by path."""
    clients: list[Client] = []

    def driver(answers: Callable[[httpx.Request], Any] = lambda request: {}) -> WorkerEffects:
        def answer(request: httpx.Request) -> httpx.Response:
            found = answers(request)
            if isinstance(found, int):
                return httpx.Response(found, html="<html>")
            return httpx.Response(404 if found is UNKNOWN else 200, json=found)

        settings = Settings(base_url="https://hub.example", max_retries=0)
        clients.append(Client(settings, transport=httpx.MockTransport(answer)))
        runtime = BlockingRuntime(clients[-1])
        return WorkerEffects(
            runtime=runtime,
            costs=Costs(runtime, logging.getLogger(__name__)),
            store=NoRecordStore(),
            output=None,  # type: ignore[arg-type]
            log=logging.getLogger(__name__),
            builds=None,  # type: ignore[arg-type]
            rebuilds=None,  # type: ignore[arg-type]
            arguments=TaskArguments.read(
                {"deferrable": False, "poll_interval": 0.01, "timeout": None, "lookup_grace": 0.1}
            ),
            running=Running(None),
        )

    yield driver
    for client in clients:
        client.close()


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {"generation_id": str(number), "status": "queued", "model_name": "z-image-turbo", **fields}


def pages(*pages: list[int], total: int | None = None) -> Callable[[httpx.Request], Any]:
    """Answer an empty queue, and a history of pages whose last is given for ever."""

    def answer(request: httpx.Request) -> Any:
        if request.url.path.endswith("/queue"):
            return {"count": 0, "generations": []}
        number = int(request.url.params["page"])
        rows = pages[min(number, len(pages)) - 1]
        return {"generations": [row(id) for id in rows], **({"total_pages": total} if total else {})}

    return answer


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (pages([1, 2], [3], total=2), ["1", "2", "3"]),
        (pages([1, 2], [3], []), ["1", "2", "3"]),
        (pages([1, 2], [3]), ["1", "2", "3", "3"]),
        (pages([]), []),
        (pages([1], total=1), ["1"]),
    ],
    ids=["counted", "to an empty one", "the last for ever", "empty", "one"],
)
def test_every_page_of_the_history_is_read(driver, record, answer, found):
    assert [found.generation_id for found in unsuspended(driver(answer).rows(record))] == found


def test_queue_is_read_before_the_history_and_of_all_rows_those_that_may_matter_are_kept(driver, record):
    asked: list[str] = []

    def answer(request: httpx.Request) -> Any:
        asked.append(f"{request.url.path}?namespace={request.url.params.get('namespace')}")
        rows = [
            row(1),
            row(2, prompt="Another"),
            row(3, prompt="Another", seed=7),
            row(4, model_name="another", prompt=record.body["prompt"]),
        ]
        return {"count": 4, "generations": rows if request.url.path.endswith("/queue") else []}

    found = [
        found.generation_id
        for found in unsuspended(driver(answer).rows(record.to("intent", namespace="org")))
    ]

    assert found == ["1", "3", "4"]
    assert asked == ["/api/ai/queue?namespace=org", "/api/ai/generations?namespace=org"]


def test_generation_that_only_the_history_knows_is_found_there(driver):
    def answer(request: httpx.Request) -> Any:
        return UNKNOWN if "/queue/" in request.url.path else {"generation": row(1)}

    assert unsuspended(driver(answer).row("g")).generation_id == "1"


def test_generation_that_neither_queue_nor_history_knows_is_none(driver):
    assert unsuspended(driver(lambda request: UNKNOWN).row("g")) is None


def test_hub_without_a_history_knows_no_more_than_its_queue(driver):
    assert (
        unsuspended(driver(lambda request: UNKNOWN if "/queue/" in request.url.path else 404).row("g"))
        is None
    )


def test_hub_without_a_queue_is_not_one_that_does_not_know_the_generation(driver):
    with pytest.raises(OxenRouteNotFound):
        unsuspended(driver(lambda request: 404).row("g"))


def test_pause_ends_when_the_task_is_told_to_stop_while_it_waits(driver):
    made = driver()
    made.stopping = True

    with pytest.raises(OxenPollError, match="was stopped"):
        unsuspended(made.pause(60))


@pytest.mark.parametrize(
    ("ahead", "pauses", "limits"),
    [
        (None, [600] * 3, [LOOK] * 3),
        (1000, [600, 400], [LOOK, LOOK, LAST]),
        # Late already: one look, which gets its time.
        (-5, [], [LOOK]),
        (20, [20], [20, LAST]),
    ],
    ids=["never", "later", "late", "soon"],
)
def test_timeout_holds_for_pauses_and_looks(driver, record, monkeypatch, ahead, pauses, limits):
    made = driver()
    monkeypatch.setattr(effects, "pace", lambda interval, look: interval)
    seen: list[tuple[str, float]] = []
    with time_machine.travel(1_780_000_000, tick=False) as clock:
        timeout = None if ahead is None else 10_000.0
        since = time.time() + (ahead or 0) - 10_000.0
        made.arguments = made.arguments.model_copy(update={"poll_interval": 600, "timeout": timeout})

        async def pause(seconds: float) -> None:
            seen.append(("pause", seconds))
            clock.shift(seconds)

        async def row(generation_id: str) -> Generation:
            seen.append(("look", round(deadline.left())))
            if timeout is None and len(seen) > 6:
                return Generation(generation_id="1", status="succeeded", result_url="https://hub.example/i")
            return Generation(generation_id="1", status="processing")

        made._pause, made.row = pause, row

        end = unsuspended(made.wait(record.to("submitted", submitted_at=since)))

    assert end.status == ("succeeded" if ahead is None else "timed_out")
    assert [seconds for what, seconds in seen if what == "pause"][:3] == pauses
    assert [seconds for what, seconds in seen if what == "look"][:3] == limits


@polled
@without_record
def test_timeout_holds_whatever_a_request_does(scene, monkeypatch):
    monkeypatch.setattr(deadline, "LAST", 0.05)
    scene.slow()
    scene.hub.fail(Fault("hold", on="job", seconds=60, times=None))

    tried = scene.once(timeout=0.3)

    assert "has not ended within the timeout" in tried.error


@pytest.mark.parametrize("done", ["closed", "written (submitted)"])
def test_paid_job_whose_record_another_try_has_taken_is_gone_on_with(driver, record, caplog, done):
    def taken() -> None:
        raise OxenOvertaken("Another try has written the record.")

    one = driver()
    one.recorder.record = record
    one.recorder.call_with_retries(done, taken)

    assert f"The record of {record.job} is not {done}: Another try has written the record." in caplog.text


def test_who_was_overtaken_with_nothing_sent_ends_there(driver, record):
    def taken() -> None:
        raise OxenOvertaken("Another try has written the record.")

    one = driver()
    one.recorder.record = record.to("not_sent")

    with pytest.raises(OxenOvertaken):
        one.recorder.call_with_retries("written (not sent)", taken)
