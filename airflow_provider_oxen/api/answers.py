"""Turn a response, or a lost one, into a result or an error. Pure.

:mod:`.refusals` decides which error a refusal is.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
from typing import Any, TypeVar

import httpx
import pydantic

from airflow_provider_oxen.api import errors
from airflow_provider_oxen.api.body import MAX_PAID_BYTES, problem_of
from airflow_provider_oxen.api.calls import Call, NotYet
from airflow_provider_oxen.api.clock import retry_after
from airflow_provider_oxen.api.items import bare_of
from airflow_provider_oxen.api.jsontext import TooExpensive, loads
from airflow_provider_oxen.api.redact import LONG_KEY, redacted_line
from airflow_provider_oxen.api.refusals import MAX_WORD, error_class, plain_text, text_of, type_of
from airflow_provider_oxen.api.rows import ids_of
from airflow_provider_oxen.api.settings import Settings

__all__ = ["from_transport", "read"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


def read(response: httpx.Response, call: Call[T], settings: Settings) -> T:
    """Return the call's result.

    :param response: an answer whose body has been read.
    :param settings: settings of the connection. What a message quotes is quoted without their key.
    :raises OxenError: the class says what the answer means; see :mod:`.errors`.
    """
    damaged = problem_of(response) if response.is_success else None
    data, problem = (None, damaged.clause) if damaged else _decode(response, call)
    if problem is not None and call.paid and response.is_success and (bare := bare_of(response.content)):
        data, problem = bare, None
    if not response.is_success or (isinstance(data, dict) and data.get("error")):
        error = _error(response, call, data, settings)
        if response.is_success and (call.generation or (call.paid and _tells_more(data))):
            # Images beside an error were paid for anyway. And a row of the queue has an error of its own.
            with contextlib.suppress(ValueError):
                result = call.parse(data)
                if call.paid:
                    log.warning(
                        "The answer holds what was asked for, and an error beside it: %s", error.message
                    )
                return result
        raise error
    content = response.content
    if problem is None:
        try:
            return call.parse(data)
        except ValueError as error:
            problem = _reason(error)
            if isinstance(error, NotYet):
                content = b""
    raise _unreadable(response, call, problem, settings, content, ids_of(data))


def from_transport(
    error: httpx.RequestError | httpx.InvalidURL,
    call: Call[Any],
    settings: Settings,
    *,
    sent: bool | None = None,
) -> errors.OxenError:
    """Return what a failure below HTTP means for the call.

    :param sent: whether a byte of the request may have left; None: judge by the kind of failure.
    """
    hub = settings.base_url
    what = f"{type(error).__name__}: {_quoted(str(error), settings)}".rstrip(": ")
    if sent is False or isinstance(error, _NEVER_SENT):
        if _meets_no_tls(error):
            kind = errors.OxenSettingsError if settings.guessed else errors.OxenConnectionError
            return kind(
                f"{hub} was asked to {call.name}, and answers in plain HTTP, not TLS.",
                remedy="If that is meant, write http:// before the host in the Oxen connection (with the "
                "extra allow_http where it is not this machine); else give the port that speaks https.",
            )
        return errors.OxenConnectionError(
            f"Could not reach {hub} to {call.name}: {what}.",
            remedy="Check the connection's host, and the network and proxy of this machine.",
        )
    if call.paid:
        return errors.OxenOutcomeUnknown(
            f"The answer to the request to {call.name} was lost ({what}): the hub may have accepted it."
        )
    return errors.OxenServerError(f"{hub} did not answer the request to {call.name}: {what}.")


def _meets_no_tls(error: BaseException | None) -> bool:
    """Return whether the other side answered the TLS handshake with something else, such as an HTTP 400."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _decode(response: httpx.Response, call: Call[Any]) -> tuple[Any, str | None]:
    if not response.content.strip():
        return None, "the body is empty"
    try:
        return loads(response.content, longest=MAX_PAID_BYTES, many=call.many), None
    except TooExpensive as error:
        return None, f"the body is not read: {error}"
    except ValueError:
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        return None, f"the body is not JSON ({redacted_line(kind, 100)})"


def _error(response: httpx.Response, call: Call[Any], data: Any, settings: Settings) -> errors.OxenError:
    text = text_of(data) or plain_text(response)
    word = type_of(data)
    kind = error_class(response, call, data)
    quoted = _quoted(text, settings)
    said = f"The hub answered {quoted!r}" if quoted else "The hub answered without a reason"
    if response.is_redirect:
        to = _quoted(_origin_of(response), settings)
        said = f"The host answered with a redirect to {to}, which was not followed,"
    remedy = _REMEDY.get(kind, "")
    if kind is errors.OxenAuthenticationError and settings.api_key is None:
        remedy = "The Oxen connection has no password: put the API key there."
    wait = retry_after(response.headers)
    if wait and kind in (errors.OxenRateLimited, errors.OxenUnavailable):
        remedy = f"It asks to wait {wait:,.0f} s. {remedy}"
    return kind(
        f"{said} to the request to {call.name}{_for(call)}.",
        remedy=remedy,
        retry_after=wait,
        type=word and settings.redact(word),
        **_facts(response, settings),
    )


def _unreadable(
    response: httpx.Response,
    call: Call[Any],
    problem: str,
    settings: Settings,
    content: bytes,
    ids: list[str],
) -> errors.OxenError:
    said = f"The hub answered the request to {call.name}{_for(call)}, but {_quoted(problem, settings)}."
    facts = _facts(response, settings)
    if call.paid:
        lost = errors.OxenOutcomeUnknown(said, **facts)
        if settings.api_key and len(settings.api_key) >= LONG_KEY:
            # A shorter key may occur by chance in the text of any image.
            content = content.replace(settings.api_key.encode(), b"***")
        lost.unread = errors.Unread(content, tuple(ids))
        return lost
    return errors.OxenServerError(said, **facts)


def _facts(response: httpx.Response, settings: Settings) -> dict[str, Any]:
    request_id = response.headers.get("x-request-id")
    return {
        "status": response.status_code,
        "request_id": request_id and settings.redact(request_id)[:MAX_WORD],
    }


_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}
)
"""OpenSSL's words, in several versions, for an answer that is not TLS."""

_REMEDY: dict[type[errors.OxenError], str] = {
    errors.OxenInvalidRequest: "Change the request.",
    errors.OxenModerationError: "The content policy refused it: change the prompt.",
    errors.OxenAuthenticationError: "The API key is missing or wrong: check the password field.",
    errors.OxenPermissionError: "The key may not do this: check the namespace.",
    errors.OxenCreditsError: "Out of credits: top up the account that is billed.",
    errors.OxenModelNotFound: "Check the model's name.",
    errors.OxenRouteNotFound: "The host does not serve this path: check the connection's host, and its "
    "api_layout (auto, classic or ai).",
    errors.OxenUpdateRequired: "The hub no longer accepts this version of the package: install a newer "
    "airflow-provider-oxen.",
    errors.OxenRateLimited: "Send fewer requests at once: use a pool, or requests_per_minute of a batch.",
    errors.OxenUnavailable: "The hub does not take requests now.",
    errors.OxenServerError: "The fault is on the hub's side.",
    errors.OxenGenerationNotFound: "Check its id, the key and the namespace.",
}
"""What to do about an error, or whose fault it is."""


def _tells_more(data: Any) -> bool:
    """Return whether the result stands beside an error; anything less may be part of the error."""
    return isinstance(data, dict) and bool(data.get("images") or data.get("generations"))


def _quoted(text: str, settings: Settings) -> str:
    """Remove the key and the query of every URL (it may be signed), fold white space, then shorten."""
    return redacted_line(settings.redact(text), 300) or ""


def _reason(error: ValueError) -> str:
    if isinstance(error, pydantic.ValidationError):
        # Do not use str(error): it quotes the input, which may hold a signed URL.
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}".lstrip(": ")
    return str(error)


def _origin_of(response: httpx.Response) -> str:
    target = response.next_request
    return f"{target.url.scheme}://{target.url.netloc.decode()}" if target else "nowhere"


def _for(call: Call[Any]) -> str:
    if call.generation:
        return f" ({call.generation})"
    if not call.model:
        return ""
    return f" {call.model!r}" if call.name.endswith("the model") else f" with {call.model!r}"
