"""The queue and the history: the requests of the contract, and every shape in which a generation is told."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from airflow_provider_oxen.api import queue
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.errors import (
    OxenCreditsError,
    OxenGenerationNotFound,
    OxenInvalidRequest,
    OxenOutcomeUnknown,
    OxenRouteNotFound,
    OxenServerError,
)
from airflow_provider_oxen.api.models import GenerateRequest, Generation, HistoryPage

from .conftest import HUB, KEY, LINK, answer, trouble

REQUEST = GenerateRequest(model="m", prompt="A red cube", response_format="b64_json", seed=7)
ROW = {
    "generation_id": "g-1",
    "model_name": "m",
    "prompt": "A red cube",
    "media_type": "image",
    "status": "succeeded",
    "result_url": LINK,
    "error_message": None,
    "enqueued_at": 1780000000,
    "started_at": 1780000001.5,
    "completed_at": 1780000010,
    "seed": 7,
    "aspect_ratio": None,
}


@pytest.mark.parametrize(
    ("call", "method", "path", "params", "body"),
    [
        (
            queue.enqueue(REQUEST),
            "POST",
            "/api/ai/queue",
            None,
            {"model": "m", "prompt": "A red cube", "seed": 7},
        ),
        (queue.get_generation("g-1"), "GET", "/api/ai/queue/g-1", None, None),
        (queue.get_generation("a/b?c#d"), "GET", "/api/ai/queue/a%2Fb%3Fc%23d", None, None),
        (queue.cancel("g-1"), "DELETE", "/api/ai/queue/g-1", None, None),
        (queue.get_history("g-1"), "GET", "/api/ai/generations/g-1", None, None),
        (queue.list_queue(), "GET", "/api/ai/queue", None, None),
        (queue.list_queue("org"), "GET", "/api/ai/queue", {"namespace": "org"}, None),
        (
            queue.list_history(),
            "GET",
            "/api/ai/generations",
            {"page": "1", "page_size": str(queue.PAGE_SIZE)},
            None,
        ),
        (
            queue.list_history("org", 3),
            "GET",
            "/api/ai/generations",
            {"namespace": "org", "page": "3", "page_size": "1000"},
            None,
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Call) else None,
)
def test_call_is_the_request_of_the_contract(call, method, path, params, body):
    assert (call.method, call.params, call.body) == (method, params, body)
    assert call.paths == {"classic": path, "ai": path}
    assert call.has_layouts is False
    assert call.paid is (method == "POST")


def test_only_calls_about_one_generation_name_it():
    assert queue.get_generation("g-1").generation == queue.cancel("g-1").generation == "g-1"
    assert queue.enqueue(REQUEST).generation is queue.list_queue().generation is None


def test_location_is_where_the_row_is():
    assert queue.location(HUB, "a/b") == f"{HUB}/api/ai/queue/a%2Fb"


class TestRow:
    """What a generation tells of itself."""

    def test_facts_are_read_and_the_submitted_parameters_are_echoed(self):
        row = Generation.model_validate(ROW)

        assert (row.generation_id, row.status, row.model, row.prompt) == (
            "g-1",
            "succeeded",
            "m",
            "A red cube",
        )
        assert (row.result_url, row.error_message, row.media_type) == (LINK, None, "image")
        assert (row.enqueued_at, row.started_at, row.completed_at) == (1780000000, 1780000001.5, 1780000010)
        assert row.echo() == {"seed": 7}, "what is null was not submitted"

    def test_older_servers_and_events_use_other_names(self):
        row = Generation.model_validate(
            {"generation_id": "g-1", "model": "m", "url": LINK, "error": "Insufficient credits"}
        )

        assert (row.model, row.result_url, row.error_message) == ("m", LINK, "Insufficient credits")
        assert (row.status, row.echo()) == ("succeeded", {}), "a link tells more than no status"

    def test_newer_names_win(self):
        told = {"model": "old", "url": "https://old", "error": "old"}
        row = Generation.model_validate({**ROW, "error_message": "new", **told})

        assert (row.model, row.result_url, row.error_message) == ("m", LINK, "new")

    @pytest.mark.parametrize("odd", [{}, [], {"a": 1}], ids=str)
    def test_odd_facts_do_not_cost_the_paid_image_beside_them(self, odd):
        facts = ("model_name", "prompt", "media_type", "error_message", "enqueued_at", "completed_at", "cost")
        row = Generation.model_validate(
            {"generation_id": "g-1", "result_url": LINK, **dict.fromkeys(facts, odd)}
        )

        assert (row.result_url, row.enqueued_at, row.completed_at) == (LINK, None, None)

    @pytest.mark.parametrize(
        ("cost", "told"),
        [("0.0140", "0.0140"), (0.014, "0.014"), (1, "1"), (None, None), (True, None), ({}, None)],
    )
    def test_cost_is_decimal_text_however_it_is_told(self, cost, told):
        assert Generation.model_validate({**ROW, "cost": cost}).cost == told

    def test_status_that_the_hub_has_added_since_is_kept_as_it_is(self):
        row = Generation.model_validate({**ROW, "status": " resting ", "result_url": None})

        assert row.status == "resting"

    def test_row_without_an_id_is_none(self):
        with pytest.raises(ValidationError, match="generation_id"):
            Generation.model_validate({"status": "queued"})

    def test_representation_holds_no_link(self):
        assert "signature" not in repr(Generation.model_validate(ROW))


class TestPage:
    """Rows in numbers."""

    def test_odd_row_does_not_hide_the_others(self):
        page = HistoryPage.model_validate(
            {"generations": [{"status": "queued"}, ROW, "x", None], "total_pages": 3, "total_cost": "1.2"}
        )

        assert ([row.generation_id for row in page.generations], page.total_pages) == (["g-1"], 3)

    @pytest.mark.parametrize("pages", [None, "many", {}], ids=str)
    def test_number_of_pages_may_not_be_told(self, pages):
        assert HistoryPage.model_validate({"generations": [], "total_pages": pages}).total_pages is None

    @pytest.mark.parametrize("data", [{}, {"generations": None}, {"generations": {}}, [], None], ids=str)
    def test_answer_without_a_list_is_not_an_empty_page(self, data):
        with pytest.raises(ValidationError):
            HistoryPage.model_validate(data)

    def test_list_of_which_no_row_can_be_read_is_not_an_empty_page(self):
        """Taken for empty, it would say that a job is not there, and the job would be paid for again."""
        with pytest.raises(ValidationError, match="no row of the list can be read"):
            HistoryPage.model_validate({"generations": [{"name": "g-1"}]})


class TestAnswers:
    """Over HTTP, by either client."""

    async def test_accepted_request_gives_its_generation(self, twin, hub):
        hub.says(answer(json={"generations": [{"generation_id": "g-1", "status": "queued"}]}))

        rows = await twin.send(queue.enqueue(REQUEST))

        assert [(row.generation_id, row.status) for row in rows] == [("g-1", "queued")]
        assert hub.asked[0].headers["authorization"] == f"Bearer {KEY}"
        assert b"response_format" not in hub.asked[0].content, "the queue answers links only"

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ({"message": "num_generations must be at least 1"}, OxenInvalidRequest),
            ("Something", OxenInvalidRequest),
            ({"type": "insufficient_credits", "title": "You have run out of credits."}, OxenCreditsError),
        ],
        ids=["typed", "text", "credits"],
    )
    async def test_nothing_accepted_beside_an_error_cost_nothing(self, twin, hub, error, kind):
        hub.says(answer(json={"generations": [], "error": error}))

        failure = await twin.failure(queue.enqueue(REQUEST))

        assert (type(failure), failure.spent) == (kind, "no")
        assert len(hub.asked) == 1

    @pytest.mark.parametrize(
        "body",
        [{"generations": []}, {"generations": [{"status": "queued"}]}, {}, [], "accepted"],
        ids=str,
    )
    async def test_success_that_names_no_generation_may_have_been_paid_for(self, twin, hub, body):
        hub.says(answer(json=body))

        failure = await twin.failure(queue.enqueue(REQUEST))

        assert (type(failure), failure.spent) == (OxenOutcomeUnknown, "unknown")
        assert len(hub.asked) == 1, "it is never sent again blindly"

    async def test_generation_beside_an_error_was_paid_for(self, twin, hub, caplog):
        hub.says(answer(json={"generations": [{"generation_id": "g-1"}], "error": "1 of 2 was refused"}))

        (row,) = await twin.send(queue.enqueue(REQUEST))

        assert row.generation_id == "g-1"
        assert "an error beside it" in caplog.text

    @pytest.mark.parametrize("broken", [httpx.ReadTimeout, httpx.RemoteProtocolError])
    async def test_lost_answer_may_have_been_paid_for(self, twin, hub, broken):
        hub.says(trouble(broken))

        failure = await twin.failure(queue.enqueue(REQUEST))

        assert (type(failure), failure.spent, len(hub.asked)) == (OxenOutcomeUnknown, "unknown", 1)

    @pytest.mark.parametrize(
        "call", [queue.get_generation("g-1"), queue.get_history("g-1")], ids=["queue", "history"]
    )
    @pytest.mark.parametrize("body", [ROW, {"generation": ROW}], ids=["bare", "wrapped"])
    async def test_row_is_read_wrapped_or_bare(self, twin, hub, call, body):
        hub.says(answer(json=body))

        assert (await twin.send(call)).result_url == LINK

    async def test_failed_row_in_an_events_words_is_a_row_and_no_error(self, twin, hub):
        hub.says(answer(json={"generation_id": "g-1", "status": "failed", "error": "Insufficient credits"}))

        row = await twin.send(queue.get_generation("g-1"))

        assert (row.status, row.error_message) == ("failed", "Insufficient credits")

    @pytest.mark.parametrize(
        "body", [{}, {"generation": None}, [], {"generation": {"status": "queued"}}], ids=str
    )
    async def test_answer_that_is_no_row_is_the_hubs_fault(self, connect, hub, body):
        hub.says(answer(json=body))

        failure = await connect(max_retries=0).failure(queue.get_generation("g-1"))

        assert type(failure) is OxenServerError

    @pytest.mark.parametrize(
        "call",
        [queue.get_generation("g-1"), queue.get_history("g-1"), queue.cancel("g-1")],
        ids=["queue", "history", "cancel"],
    )
    async def test_404_in_the_hubs_words_says_that_it_does_not_know_the_id(self, twin, hub, call):
        hub.says(answer(404, {"error": {"type": "resource_not_found", "title": "Not found"}}))

        failure = await twin.failure(call)

        assert (type(failure), failure.spent) == (OxenGenerationNotFound, "unknown")
        assert "g-1" in str(failure)

    @pytest.mark.parametrize(
        "missing", [answer(404), answer(404, text="<html>nginx</html>")], ids=["empty", "html"]
    )
    async def test_404_in_nobodys_words_is_a_missing_route(self, twin, hub, missing):
        """Taken for an unknown id, a proxy's page would end the task whose job is alive."""
        hub.says(missing)

        assert type(await twin.failure(queue.get_generation("g-1"))) is OxenRouteNotFound

    async def test_cancelling_gives_nothing_back(self, twin, hub):
        hub.says(answer(json={"status": "success", "generation_id": "g-1"}))

        assert await twin.send(queue.cancel("g-1")) is None

    async def test_cancelling_what_has_ended_is_refused(self, twin, hub):
        hub.says(answer(400, {"error": {"message": "already finished"}}))

        assert type(await twin.failure(queue.cancel("g-1"))) is OxenInvalidRequest

    async def test_lists_are_read(self, twin, hub):
        hub.says(answer(json={"count": 1, "generations": [ROW]}))

        assert [row.generation_id for row in await twin.send(queue.list_queue())] == ["g-1"]
        assert [row.generation_id for row in (await twin.send(queue.list_history())).generations] == ["g-1"]

    @pytest.mark.parametrize("call", [queue.list_queue(), queue.list_history()], ids=["queue", "history"])
    @pytest.mark.parametrize("body", [{}, [], {"generations": [{"name": "g-1"}]}], ids=str)
    async def test_list_that_cannot_be_read_is_not_an_empty_one(self, connect, hub, call, body):
        hub.says(answer(json=body))

        assert type(await connect(max_retries=0).failure(call)) is OxenServerError

    async def test_lists_that_are_empty_are_empty(self, twin, hub):
        hub.says(answer(json={"generations": []}))

        assert await twin.send(queue.list_queue()) == []


def test_facts_of_a_row_are_never_arguments_of_a_model() -> None:
    """A hub may echo a parameter by any name."""
    names: dict[str, Any] = {"model_dump": 1, "echo": 2, "self": 3}

    assert Generation.model_validate({**ROW, **names}).echo().items() >= names.items()


@pytest.mark.parametrize(
    ("told", "charged"), [("0.014", 0.014), (0.5, 0.5), (None, None), ("free", None), ("inf", None)]
)
def test_what_was_charged_is_a_number(told, charged):
    row = Generation.model_validate({"generation_id": "g-1", "cost": told})

    assert row.charged == charged
