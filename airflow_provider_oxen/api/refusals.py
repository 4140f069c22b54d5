"""Read what a refusal says, and decide which error it is, by its status and the hub's words beside it.

Pure, and the only module that knows statuses, both formats of error bodies and the hub's known texts.
"""

from __future__ import annotations

import re
from typing import Any

import httpx

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.calls import Call

__all__ = ["MAX_WORD", "error_class", "plain_text", "text_of", "type_of"]

_SAID, _PAGE = 4 * 1024, 64 * 1024
"""Characters read of an error, and bytes read of a page: the reason stands at the beginning."""

MAX_WORD = 200
"""Characters kept of a request id, or of the hub's word for an error."""

_MODEL_NOT_FOUND = re.compile(r"model not found", re.IGNORECASE)
_MODERATION = re.compile(
    # Not the bare word "moderation": it is also the name of a parameter.
    r"moderated|moderation (system|filter|policy|failed|blocked)|(by|failed|for) (content )?moderation"
    r"|content[ _-]?policy|safety (system|filter|checker)|nsfw|flagged",
    re.IGNORECASE,
)
_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)
_OUT_OF_CREDITS = re.compile(r"insufficient[_ ]credits|((you have )?run )?out of credits", re.IGNORECASE)

_BY_STATUS: dict[int, type[errors.OxenError]] = {
    400: errors.OxenInvalidRequest,
    401: errors.OxenAuthenticationError,
    402: errors.OxenCreditsError,
    404: errors.OxenRouteNotFound,
    422: errors.OxenInvalidRequest,
    429: errors.OxenRateLimited,
}
"""The statuses that the hub documents for refusals. 426 counts only beside the words of :data:`_GATES`."""

_GATES: dict[str | None, type[errors.OxenError]] = {
    "update_required": errors.OxenUpdateRequired,
    "migration_required": errors.OxenUnavailable,
}

_BYWORD: dict[str | None, type[errors.OxenError]] = {
    "unauthenticated": errors.OxenAuthenticationError,
    "insufficient_credits": errors.OxenCreditsError,
    "invalid_params": errors.OxenInvalidRequest,
    **_GATES,
}
"""The hub's own words for refusals; they count if the status says something else."""

_FOR_FREE: dict[int, type[errors.OxenError]] = {
    **dict.fromkeys(range(300, 400), errors.OxenRouteNotFound),
    403: errors.OxenPermissionError,
    408: errors.OxenServerError,
    425: errors.OxenServerError,
    503: errors.OxenUnavailable,
}
"""What further statuses mean for a call that costs nothing, where no proof is needed."""


def error_class(response: httpx.Response, call: Call[Any], data: Any) -> type[errors.OxenError]:
    """Return the error class for a status and the words beside it.

    Only a closed list proves that a paid request was not accepted: the documented refusals, by their status
    or, if that says something else, by their exact words. Anything else leaves the outcome unknown.
    """
    status, said, word = response.status_code, text_of(data), _word(data)
    unclear = errors.OxenOutcomeUnknown if call.paid else errors.OxenServerError
    if status < 300:
        if isinstance(data, dict) and data.get("generations") == []:
            # An error beside an empty list of accepted generations leaves no doubt.
            status = 400
        else:
            return _BYWORD.get(word) or _of_exact_words(said.strip(" .")) or unclear
    if status == 426:
        return _GATES.get(word, unclear)
    if status in _BY_STATUS:
        return _refined(status, said, said or plain_text(response), word, call)
    if call.paid:
        # A gateway may also send 403 after the work is done. The hub gives a reason, before it begins.
        return errors.OxenPermissionError if status == 403 and said else unclear
    if status in _FOR_FREE:
        return _FOR_FREE[status]
    return errors.OxenInvalidRequest if 400 <= status < 500 else unclear


def _of_exact_words(said: str) -> type[errors.OxenError] | None:
    if said.lower().startswith("model not found:"):
        return errors.OxenModelNotFound
    if _OUT_OF_CREDITS.fullmatch(said):
        return errors.OxenCreditsError
    return errors.OxenInvalidRequest if said == "Prompt cannot be empty" else None


def _refined(status: int, said: str, text: str, word: str | None, call: Call[Any]) -> type[errors.OxenError]:
    """Return the class of a documented refusal, as specific as the words beside its status allow."""
    if status in (400, 404, 422) and _MODEL_NOT_FOUND.search(text):
        return errors.OxenModelNotFound
    if status == 404 and call.generation and said:
        return errors.OxenGenerationNotFound
    if status in (400, 422):
        if word in _BYWORD:
            return _BYWORD[word]
        if _CREDITS.search(text):
            return errors.OxenCreditsError
        if _MODERATION.search(text):
            return errors.OxenModerationError
    return _BY_STATUS[status]


def type_of(data: Any) -> str | None:
    error = data.get("error") if isinstance(data, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    # Cut far behind what is shown: a cut within the shown part could leave half a key.
    return kind[:_SAID] if isinstance(kind, str) else None


def _word(data: Any) -> str | None:
    """Return the hub's word for an error: its type, or what stands in place of it."""
    word = type_of(data)
    if word is None and isinstance(data, dict):
        word = next(
            (it[:MAX_WORD] for it in (data.get("status_message"), data.get("error")) if isinstance(it, str)),
            None,
        )
    return word


def text_of(data: Any) -> str:
    """Return the message for people, from the first of the places where the hub is known to put one."""
    if not isinstance(data, dict):
        return ""
    error = data.get("error")
    places = (
        [error.get(key) for key in ("detail", "message", "title")] if isinstance(error, dict) else [error]
    )
    places += [data.get("error_message"), data.get("status_message")]
    return next((text[:_SAID] for text in places if isinstance(text, str) and text.strip()), "")


def plain_text(response: httpx.Response) -> str:
    # Do not use response.text: it trusts the charset in the header, and fails on some.
    text = response.content[:_PAGE].decode(errors="replace")
    if "html" in response.headers.get("content-type", "") or text.lstrip()[:1] == "<":
        title = _titled(text)
        return f"an HTML page: {title}" if title else "an HTML page"
    return text[:_SAID]


def _titled(page: str) -> str:
    """Return a page's title. Uses no pattern: a page full of unfinished titles would take hours."""
    lower = page.lower()
    begins = lower.find(">", lower.find("<title") if "<title" in lower else len(lower)) + 1
    ends = lower.find("</title", begins)
    return page[begins:ends].strip() if begins and ends > 0 else ""
