"""What an answer, or its absence, means: a response or a lost one becomes a result or an error.

Pure, and the only place that knows statuses, both error bodies and the hub's known texts.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any, TypeVar

import httpx
import pydantic
import pydantic_core

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.calls import Call
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.api.settings import Settings

__all__ = ["from_transport", "read", "retry_after"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_MODEL_NOT_FOUND = re.compile(r"model not found", re.IGNORECASE)
_MODERATION = re.compile(
    # Not the bare word: it is also the name of a parameter.
    r"moderated|moderation (system|filter|policy|failed|blocked)|(by|failed|for) (content )?moderation"
    r"|content[ _-]?policy|safety (system|filter|checker)|nsfw|flagged",
    re.IGNORECASE,
)
_CREDITS = re.compile(r"insufficient[_ ]credits|out of credits", re.IGNORECASE)

_BY_STATUS: dict[int, type[errors.OxenError]] = {
    401: errors.OxenAuthenticationError,
    402: errors.OxenCreditsError,
    403: errors.OxenPermissionError,
    429: errors.OxenRateLimited,
    503: errors.OxenUnavailable,
}

# By the rules of HTTP these ask for the same request elsewhere, so it was not accepted here; the other
# redirects may stand for "done, look there".
_MOVED = (301, 307, 308)

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Halves of characters in JSON; two that belong together are one character when they are read."""


def read(response: httpx.Response, call: Call[T], settings: Settings) -> T:
    """Return the call's result.

    :param response: an answer whose body has been read.
    :param settings: of the connection; what a message quotes is quoted without its key.
    :raises OxenError: the class that says what the answer means; see :mod:`.errors`.
    """
    data, problem = _decode(response)
    if not response.is_success or (isinstance(data, dict) and data.get("error")):
        error = _error(response, call, data, settings)
        if (call.paid or call.generation) and response.is_success:
            # Images beside an error were paid for all the same; and a row tells of an error of its own.
            with contextlib.suppress(ValueError):
                result = call.parse(data)
                if call.paid:
                    log.warning("The answer holds what was asked for, and an error beside it: %s", error)
                return result
        raise error
    if problem is None:
        try:
            return call.parse(data)
        except ValueError as error:
            problem = _reason(error)
    raise _unreadable(response, call, problem, settings)


def from_transport(
    error: httpx.RequestError | httpx.InvalidURL, call: Call[Any], settings: Settings
) -> errors.OxenError:
    """Return what a failure below HTTP means for the call."""
    hub = settings.base_url
    what = f"{type(error).__name__}: {_quoted(str(error), settings)}".rstrip(": ")
    if isinstance(error, _NEVER_SENT):
        return errors.OxenConnectionError(
            f"Could not reach {hub} to {call.name}: {what}. Nothing was sent, nothing was spent."
        )
    if call.paid:
        return errors.OxenOutcomeUnknown(
            f"The answer to the request to {call.name} was lost ({what}). The hub may have accepted it: "
            "one image may have been generated and paid for."
        )
    return errors.OxenServerError(f"{hub} did not answer the request to {call.name}: {what}.")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as seconds or as a date, or None."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        moment = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - (time.time() if now is None else now))


def _decode(response: httpx.Response) -> tuple[Any, str | None]:
    if not response.content.strip():
        return None, "the body is empty"
    try:
        return _from_json(response.content), None
    except (ValueError, RecursionError):
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        return None, f"the body is not JSON ({kind})"


def _from_json(content: bytes) -> Any:
    """Read JSON without a copy of it as text: an image may be in it.

    :raises ValueError, RecursionError: where it is none.
    """
    try:
        return pydantic_core.from_json(content, cache_strings="keys")
    except ValueError:
        # It knows UTF-8 alone, and no halves of characters.
        data = json.loads(content)
        return _whole(data) if _HALF.search(content) else data


def _whole(value: Any) -> Any:
    """Return JSON with '?' for each half of a character: a text that was cut there cannot be written."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [_whole(item) for item in value]
        case dict():
            return {_whole(name): _whole(item) for name, item in value.items()}
    return value


def _error(response: httpx.Response, call: Call[Any], data: Any, settings: Settings) -> errors.OxenError:
    status = response.status_code
    said_by_hub = _text(data)
    text = said_by_hub or _plain(response)
    word = _type(data)
    # A gateway also says 503 when the hub broke off after it had taken the request, some as JSON and with a
    # time to come back at: only an error in the hub's own shape says that it did not take it.
    refused = isinstance(data, dict) and bool(data.get("error"))
    kind = _kind(status, text, word, call, refused, bool(said_by_hub))
    if kind is errors.OxenOutcomeUnknown and isinstance(data, dict) and data.get("generations") == []:
        # Beside an error, an empty list of what was accepted leaves no doubt.
        kind = errors.OxenInvalidRequest
    quoted = _quoted(text, settings)
    said = f"The hub answered {quoted!r}" if quoted else "The hub answered without a reason"
    if response.is_redirect:
        to = _quoted(_origin_of(response), settings)
        said = f"The host answered with a redirect to {to}, which was not followed,"
    message = f"{said} to the request to {call.name}{_for(call)}. {_MEANING[kind]}"
    return kind(
        message,
        retry_after=retry_after(response.headers),
        type=word and settings.hide(word),
        **_facts(response, settings),
    )


def _kind(
    status: int, text: str, word: str | None, call: Call[Any], refused: bool, said_by_hub: bool
) -> type[errors.OxenError]:
    # A 200 with an error, and a 5xx, count as refused only where the words leave no doubt.
    if _MODEL_NOT_FOUND.search(text) and status < 500:
        return errors.OxenModelNotFound
    if status == 404 and call.generation and said_by_hub:
        return errors.OxenGenerationNotFound
    if status < 300 or status in (400, 422):
        if _CREDITS.search(text):
            return errors.OxenCreditsError
        if _MODERATION.search(text) and status >= 400:
            return errors.OxenModerationError
        if word == "unauthenticated":
            return errors.OxenAuthenticationError
        if text.strip(". ") == "Prompt cannot be empty":
            return errors.OxenInvalidRequest
    if status == 503 and call.paid and not refused:
        return errors.OxenOutcomeUnknown
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 404 or status in _MOVED or (300 <= status < 400 and not call.paid):
        return errors.OxenRouteNotFound
    if 400 <= status < 500 and status != 408:
        return errors.OxenInvalidRequest
    return errors.OxenOutcomeUnknown if call.paid else errors.OxenServerError


def _unreadable(
    response: httpx.Response, call: Call[Any], problem: str, settings: Settings
) -> errors.OxenError:
    said = f"The hub answered the request to {call.name}{_for(call)}, but {_quoted(problem, settings)}."
    facts = _facts(response, settings)
    if call.paid:
        return errors.OxenOutcomeUnknown(f"{said} {_MEANING[errors.OxenOutcomeUnknown]}", **facts)
    return errors.OxenServerError(said, **facts)


def _facts(response: httpx.Response, settings: Settings) -> dict[str, Any]:
    request_id = response.headers.get("x-request-id")
    return {"status": response.status_code, "request_id": request_id and settings.hide(request_id)}


_NOTHING = "Nothing was spent."
_MEANING: dict[type[errors.OxenError], str] = {
    errors.OxenInvalidRequest: f"Change the request. {_NOTHING}",
    errors.OxenModerationError: f"The content policy refused it; change the prompt. {_NOTHING}",
    errors.OxenAuthenticationError: f"The API key is missing or wrong: check the password field. {_NOTHING}",
    errors.OxenPermissionError: f"The key may not do this: check the namespace. {_NOTHING}",
    errors.OxenCreditsError: f"Out of credits: top up the account that is billed. {_NOTHING}",
    errors.OxenModelNotFound: f"Check the model's name. {_NOTHING}",
    errors.OxenRouteNotFound: "The host does not serve this path: check the connection's host, and its "
    f"api_layout (auto, classic or ai). {_NOTHING}",
    errors.OxenRateLimited: f"Too many requests. {_NOTHING}",
    errors.OxenUnavailable: f"The hub does not take requests now. {_NOTHING}",
    errors.OxenServerError: "The fault is on the hub's side.",
    errors.OxenGenerationNotFound: "The hub does not know this generation: one image may have been paid for.",
    errors.OxenOutcomeUnknown: "Whether an image was generated is not known: one may have been paid for.",
}


def _type(data: Any) -> str | None:
    error = data.get("error") if isinstance(data, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    return kind if isinstance(kind, str) else None


def _text(data: Any) -> str:
    """Return the human message: the first of the places the hub is known to put one in."""
    if not isinstance(data, dict):
        return ""
    error = data.get("error")
    places = (
        [error.get(key) for key in ("detail", "message", "title")] if isinstance(error, dict) else [error]
    )
    places += [data.get("error_message"), data.get("status_message")]
    return next((text for text in places if isinstance(text, str) and text.strip()), "")


def _plain(response: httpx.Response) -> str:
    # Not response.text: it trusts the charset of the header, and breaks on some.
    text = response.content.decode(errors="replace")
    if "html" in response.headers.get("content-type", "") or text.lstrip()[:1] == "<":
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return f"an HTML page: {title.group(1).strip()}" if title else "an HTML page"
    return text


def _quoted(text: str, settings: Settings, limit: int = 300) -> str:
    """Take out the key and the query of every URL (it may be signed), fold white space, then cut."""
    text = without_queries(" ".join(settings.hide(text).split()))
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _reason(error: ValueError) -> str:
    if isinstance(error, pydantic.ValidationError):
        # Not str(error): it quotes the input, and so could quote a signed URL.
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}".lstrip(": ")
    return str(error)


def _origin_of(response: httpx.Response) -> str:
    target = response.next_request
    return f"{target.url.scheme}://{target.url.netloc.decode()}" if target else "nowhere"


def _for(call: Call[Any]) -> str:
    if call.generation:
        return f" ({call.generation})"
    return f" with {call.model!r}" if call.model else ""
