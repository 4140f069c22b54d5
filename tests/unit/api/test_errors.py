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

CLASSES = [getattr(errors, name) for name in errors.__all__ if name.startswith("Oxen")]

RETRY_HELPS = {
    "OxenConnectionError",
    "OxenOvertaken",
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


@pytest.mark.parametrize(
    ("facts", "quoted"),
    [
        ({}, ""),
        ({"status": 429}, " (HTTP 429)"),
        ({"request_id": "F-1"}, " (request id F-1)"),
        ({"status": 429, "request_id": "F-1"}, " (HTTP 429, request id F-1)"),
        ({"retry_after": 5.0, "type": "lock_timeout"}, ""),
    ],
    ids=str,
)
def test_sentence_ends_with_what_to_quote_to_the_support(facts, quoted):
    assert str(OxenRateLimited("Too many requests.", **facts)) == (
        f"Nothing was spent. Too many requests.{quoted}"
    )


def test_sentence_says_money_retry_cause_and_remedy_in_this_order():
    error = OxenDownloadError("It answered 503.", remedy="Clear the task.", retry="Not tried again.")

    assert str(error) == "Paid, image not fetched. Not tried again. It answered 503. Clear the task."
    assert error.message == "It answered 503. Clear the task."


@pytest.mark.parametrize(
    ("kind", "money"),
    [
        (errors.OxenInvalidRequest, "Nothing was spent."),
        (errors.OxenOutcomeUnknown, "An image may have been paid for."),
        (OxenBadImage, "Paid, image not usable."),
        (errors.OxenStorageError, "Paid, image not written."),
        (errors.OxenImageError, "Paid, image not kept."),
    ],
)
def test_each_class_says_what_became_of_the_money(kind, money):
    assert str(kind("It failed.")) == f"{money} It failed."


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("It failed: content policy..", "It failed: content policy."),
        ("Did you mean 'seed'?. Change it.", "Did you mean 'seed'? Change it."),
        ("(400).. Go", "(400). Go"),
        ("Wait...", "Wait..."),
        ("'..' is no folder.", "'..' is no folder."),
        ("../images is taken.", "../images is taken."),
    ],
)
def test_sentence_ends_once(cause, told):
    assert OxenError(cause).cause == told


def test_facts_are_set_by_who_knows_more():
    error = OxenError("No such model.", status=404)
    error.remedy = "Did you mean 'z-image-turbo'?"
    error.spent, error.retry_helps = "unknown", True
    error.retry = "The next try asks again."

    assert str(error) == (
        "An image may have been paid for. The next try asks again. No such model. "
        "Did you mean 'z-image-turbo'? (HTTP 404)"
    )
    error.money = "One image was paid for."
    assert str(error).startswith("One image was paid for. The next try")


def test_facts_that_a_raise_site_tells_go_before_those_of_the_class():
    error = OxenError("It failed.", spent="unknown", retry_helps=True)

    assert (error.spent, error.retry_helps) == ("unknown", True)
    assert (OxenError.spent, OxenError.retry_helps) == ("no", False)


@pytest.mark.parametrize(
    "again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copied", "pickled"]
)
@pytest.mark.parametrize(
    "error",
    [
        OxenRateLimited("Slow down.", status=429, request_id="F-1", retry_after=5.0, type="lock_timeout"),
        OxenBadImage("Not an image.", reason="it is an HTML page", remedy="Look at it."),
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


def test_sentence_that_a_stranger_made_long_keeps_its_beginning_and_its_end():
    error = OxenError(f"It says {'x ' * 500_000}. That is all.")

    assert len(error.message) < 10_010
    assert error.message.startswith("It says x x")
    assert error.message.endswith("x . That is all.")
    assert error.args == (error.message,)
