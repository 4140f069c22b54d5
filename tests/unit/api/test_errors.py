"""Every error says whether money was spent and whether a retry helps, and the drawing of the tree is true."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenError,
    OxenGenerationCancelled,
    OxenGenerationError,
    OxenGenerationFailed,
    OxenGenerationTimeout,
    OxenRateLimited,
)

CLASSES = [getattr(errors, name) for name in errors.__all__]

RETRY_HELPS = {
    "OxenConnectionError",
    "OxenPollError",
    "OxenRateLimited",
    "OxenServerError",
    "OxenStoreUnavailable",
    "OxenUnavailable",
}
UNKNOWN = {
    "OxenBatchError",
    "OxenGenerationCancelled",
    "OxenGenerationError",
    "OxenGenerationFailed",
    "OxenGenerationNotFound",
    "OxenGenerationTimeout",
    "OxenOutcomeUnknown",
    "OxenPollError",
    "OxenRecordError",
}
PAID = {"OxenImageError", "OxenBadImage", "OxenDownloadError", "OxenExpiredURL", "OxenStorageError"}


def drawn() -> dict[str, str]:
    """Return each class of the drawing with the one that it hangs on."""
    parents: dict[str, str] = {}
    branch = {0: "OxenError"}
    for depth, name in re.findall(r"^    ([│ ├└─]+)(Oxen\w+)", errors.__doc__ or "", re.MULTILINE):
        level = len(depth) // 4
        branch[level] = name
        parents[name] = branch[level - 1]
    return parents


def test_drawing_shows_every_class_where_it_stands():
    real = {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind is not OxenError}

    assert drawn() == real


def test_every_class_is_public():
    defined = {name for name, kind in vars(errors).items() if isinstance(kind, type)}

    assert {kind.__name__ for kind in CLASSES} == {name for name in defined if name.startswith("Oxen")}


@pytest.mark.parametrize("kind", CLASSES)
def test_class_answers_whether_money_was_spent_and_whether_a_retry_helps(kind):
    name = kind.__name__
    spent = "unknown" if name in UNKNOWN else "yes" if name in PAID else "no"

    assert (kind.spent, kind.retry_helps) == (spent, name in RETRY_HELPS)


def test_what_is_refused_is_never_spent():
    """The protocol clears its intent on every OxenRefused: one that was paid for would be paid for again."""
    refused = [kind for kind in CLASSES if issubclass(kind, errors.OxenRefused)]

    assert len(refused) > 10
    assert {kind.spent for kind in refused} == {"no"}


@pytest.mark.parametrize(
    "kind", [OxenGenerationError, OxenGenerationFailed, OxenGenerationCancelled, OxenGenerationTimeout]
)
def test_generation_error_is_told_whether_another_submission_may_succeed(kind):
    assert kind("It failed.").retry_helps is False
    assert kind("It failed.", retry_helps=True).retry_helps is True
    assert str(kind("It failed.", retry_helps=True, status=422)) == "It failed. (HTTP 422)"


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "Too many requests."),
        ({"status": 429}, "Too many requests. (HTTP 429)"),
        ({"request_id": "F-1"}, "Too many requests. (request id F-1)"),
        ({"status": 429, "request_id": "F-1"}, "Too many requests. (HTTP 429, request id F-1)"),
        ({"retry_after": 5.0, "type": "lock_timeout"}, "Too many requests."),
    ],
    ids=str,
)
def test_text_is_the_message_with_what_to_quote_to_the_support(facts, text):
    assert str(OxenRateLimited("Too many requests.", **facts)) == text


def test_added_words_are_shown():
    error = OxenError("No such model.", status=404)
    error.message += " Did you mean 'z-image-turbo'?"

    assert str(error) == "No such model. Did you mean 'z-image-turbo'? (HTTP 404)"


@pytest.mark.parametrize(
    "again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copied", "pickled"]
)
@pytest.mark.parametrize(
    "error",
    [
        OxenRateLimited("Slow down.", status=429, request_id="F-1", retry_after=5.0, type="lock_timeout"),
        OxenBadImage("Not an image.", reason="it is an HTML page"),
        OxenDownloadError("No answer.", passing=True, status=502),
        OxenGenerationFailed("It failed.", retry_helps=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_keeps_its_facts_between_processes(error, again):
    came = again(error)

    assert type(came) is type(error)
    assert came.__dict__ == error.__dict__
    assert str(came) == str(error)


def test_bad_image_and_download_know_nothing_unless_told():
    assert OxenBadImage("Not an image.").reason == ""
    assert OxenDownloadError("No answer.").passing is False
