"""The stream of events: what ends while somebody listens, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from airflow_provider_oxen.localhub import Fault
from tests.unit.localhub.conftest import until

Lines = Iterator[str]


@pytest.fixture
def listen(hub, client) -> Callable[..., object]:
    @contextmanager
    def listen() -> Iterator[Lines]:
        with client.stream("GET", "/api/events", timeout=10) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield answer.iter_lines()

    return listen


def next_event(lines: Lines) -> dict[str, str]:
    told = []
    for line in lines:
        if not line:
            break
        told.append(line)
    assert told[0] == "event: media_generation_completed"
    [data] = told[1:]
    return dict(json.loads(data.removeprefix("data: ")))


def test_cancelled_jobs_and_synchronous_calls_are_not_told(hub, listen, enqueue, generate):
    with listen() as lines:
        hub.fail(Fault("is_cancelled", on="enqueue"))
        enqueue()
        generate()
        id = enqueue()
        assert next_event(lines)["generation_id"] == id


def test_what_ended_before_is_not_told_again(hub, listen, enqueue):
    enqueue()
    with listen() as lines:
        first = enqueue()
        assert next_event(lines)["generation_id"] == first
    missed = enqueue()
    with listen() as lines:
        second = enqueue()
        assert next_event(lines)["generation_id"] == second != missed


def test_all_who_listen_are_told(hub, listen, enqueue):
    hub.settings.latency = 60
    with listen() as one, listen() as another:
        assert hub.streams() == 2
        id = enqueue()
        hub.settings.clock_ahead += 61
        assert next_event(one)["generation_id"] == next_event(another)["generation_id"] == id
    until(lambda: hub.streams() == 0)


def test_silence_is_broken_by_a_line_that_says_nothing(hub, listen):
    hub.settings.keep_alive = 0.01
    with listen() as lines:
        assert [next(lines), next(lines), next(lines)] == [": keep-alive", "", ": keep-alive"]


def test_streams_are_cut_off_in_the_middle(hub, listen, stranger):
    with listen() as lines:
        assert stranger.get("/_local/streams").json() == {"open": 1}
        stranger.delete("/_local/streams")
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)
    until(lambda: hub.streams() == 0)
    with listen() as lines:
        hub.drop_streams()
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)


def test_a_hub_that_closes_or_is_reset_ends_them(hub, listen, enqueue):
    enqueue()
    with listen() as lines:
        hub.reset()
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)
    with listen() as lines:
        id = enqueue()
        assert next_event(lines)["generation_id"] == id
        hub.restart()
        with pytest.raises(httpx.RemoteProtocolError):
            next(lines)


def test_the_key_is_needed_and_faults_strike(hub, client, stranger):
    assert stranger.get("/api/events").status_code == 401
    hub.fail(Fault("status", on="events", status=503))
    assert client.get("/api/events").status_code == 503


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (None, {"status": "succeeded", "model": "z-image-turbo"}),
        (Fault("without_url", on="enqueue"), {"status": "succeeded", "model": "z-image-turbo"}),
        (Fault("fails", on="enqueue", message="Too busy"), {"status": "failed", "error": "Too busy"}),
    ],
)
def test_end_is_told_in_the_words_of_the_stream(hub, client, listen, enqueue, fault, wanted):
    hub.fail(*filter(None, [fault]))
    with listen() as lines:
        id = enqueue()
        event = next_event(lines)
    url = event.pop("url", None)
    assert (url is None) is (fault is not None)
    assert url is None or client.get(url).status_code == 200
    assert event == {"generation_id": id, "media_type": "image", **wanted}
