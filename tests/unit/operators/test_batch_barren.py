"""A batch that is billed for image after image and gets none stops asking for more."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from airflow_provider_oxen.batch.outcome import MOST_LOST
from airflow_provider_oxen.localhub import Fault

from .scene import by_call

MANY = [f"A red cube, number {number}" for number in range(1, 41)]


@pytest.mark.parametrize("mode", ["polled", "synchronous"])
def test_images_that_never_come_stop_the_batch_and_are_fetched_by_the_next_try(cast_batch, mode):
    batch = cast_batch(prompts=MANY, on_error="continue")
    on: Any = "generate" if mode == "synchronous" else "enqueue"
    batch.hub.fail(Fault("not_yet", on=on, clothes="page", looks=10_000, times=None))

    tried = batch.once()

    most = MOST_LOST + batch.arguments["max_in_flight"]
    assert MOST_LOST <= len(batch.hub.ledger()) <= most
    assert tried.state == "up_for_retry"
    assert "images in a row were paid for, and none of them could be kept" in tried.error
    assert "images in a row were paid for" in batch.summary["stopped"]
    assert batch.summary["not_sent"] >= len(MANY) - most

    batch.hub.clear_faults()
    batch.hub.release_images()
    assert batch.play().state == "success"
    assert batch.asked == Counter(MANY)


@by_call
def test_text_that_is_no_image_stops_the_batch(cast_batch):
    batch = cast_batch(prompts=MANY, on_error="continue", response_format="b64_json")
    batch.hub.fail(Fault("bad_base64", times=None))

    batch.once()

    assert MOST_LOST <= len(batch.hub.ledger()) <= MOST_LOST + batch.arguments["max_in_flight"]
    assert "images in a row were paid for" in batch.summary["stopped"]


def test_row_is_asked_anew_for_each_look(cast_batch):
    batch = cast_batch(prompts=MANY[:1])
    batch.hub.fail(Fault("not_yet", on="enqueue", clothes="missing", looks=4))

    assert batch.play().state == "success"
    [job] = batch.hub.jobs()
    seen = [f"{request['method']} {request['path']}" for request in batch.hub.requests()]
    looks = [place for place, request in enumerate(seen) if "/files/" in request]
    assert len(looks) == 5
    for before, after in itertools.pairwise(looks):
        assert f"GET /api/ai/queue/{job['generation_id']}" in seen[before:after]
