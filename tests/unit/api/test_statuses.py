"""One closed list of words for how a generation stands; any other word proves nothing."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api.statuses import DOCUMENTED, UNKNOWN, is_documented_failure, normalize_status


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["queued", "Pending", "IN_QUEUE", "in queue"], "queued"),
        (["processing", "RUNNING", "in-progress", "cancelling"], "processing"),
        (["succeeded", "Succeeded", " completed ", "success", "done", "DONE"], "succeeded"),
        (["failed", "FAILED", "error", "timeout", "timed out", "expired"], "failed"),
        (["cancelled", "CANCELLED", "canceled", "Canceled", "aborted"], "cancelled"),
        ([None, "", " ", 5, True, [], ["succeeded"], {"state": "done"}], UNKNOWN),
    ],
)
def test_word_means_one_of_the_hubs_statuses_or_nothing(words, status):
    assert {normalize_status(word) for word in words} == {status}


def test_word_that_nobody_knows_stays_as_it_is_but_no_story():
    assert normalize_status(" upscaling ") == "upscaling"
    assert len(normalize_status("x" * 10_000)) == 200
    assert normalize_status("upscaling") not in DOCUMENTED


@pytest.mark.parametrize("word", ["failed", "Failed", "cancelled", "CANCELED"])
def test_hubs_own_word_for_a_bad_end_is_proof(word):
    assert is_documented_failure(word)


@pytest.mark.parametrize("word", ["expired", "error", "timeout", None, 5])
def test_another_word_for_a_bad_end_is_a_hint(word):
    assert not is_documented_failure(word)
