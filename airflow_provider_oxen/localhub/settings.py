"""What can be set on a local hub, before it starts and while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from airflow_provider_oxen.localhub.catalogue import default_catalogue

__all__ = ["LAYOUTS", "HubSettings"]

LAYOUTS = ("classic", "ai")
"""The hub's path layouts."""


@dataclass
class HubSettings:
    """Settings of a local hub; assigning to a running hub's takes effect with the next request.

    An unknown name or a value of the wrong kind is an error at once: a test whose setting does
    nothing would pass for the wrong reason.

    :param key: the one API key that is accepted.
    :param latency: seconds between accepting a generate request and answering it, and seconds that
        a queued job is worked on.
    :param at_once: how many synchronous calls are worked on at once, or None for any number; further ones
        are accepted, and billed, when they come, and wait their turn.
    :param queue_wait: seconds that a job waits in the queue before it is worked on.
    :param workers: how many queued jobs are worked on at once, or None for any number.
    :param queue_bills: when a queued job is entered into the ledger: on its ``success``, or at the
        ``enqueue``, whatever becomes of it.
    :param row_keys: how a row of the queue calls its model: ``model_name``, or ``model`` as older hubs.
    :param list_delay: seconds after which a job shows in the lists of queue and history.
    :param detail_delay: seconds after which a job can be looked up by its id.
    :param cancel_ended: what cancelling a job that is over does: an ``error``, or ``ignore``.
    :param history_detail: the answer about one generation of the history: ``wrapped`` as
        ``{"generation": row}``, or the ``bare`` row.
    :param history_shows_generate: whether synchronous calls are in the history too.
    :param keep_alive: seconds of silence after which a stream of events gets a line that says nothing.
    :param credits: play money in USD that is left.
    :param url_ttl: seconds for which a result's URL works; 0 or less makes URLs that have expired.
    :param layouts: path layouts that are served: ``classic``, ``ai`` or both.
    :param rate_limit: generate and queue requests accepted within ``rate_window``, or None for any number.
    :param rate_window: seconds.
    :param namespaces: what the key may use as ``target_namespace``; the first is its own.
    :param user: name and e-mail that ``/api/authorize`` tells.
    :param authorize: whether ``/api/authorize`` exists; older hubs answer 404.
    :param answer: ``images``, or ``image_url`` for the older form of the generate answer.
    :param error_shape: body of those errors whose shape is not certain: ``typed`` or ``message``.
    :param files_need_key: whether a result's URL needs the key as well as its signature.
    :param files_origin: origin put into result URLs; None for the one that the client called.
    :param default_size: width and height in pixels where a request names none.
    :param ready_made: whether every image is one and the same JPEG of ``default_size``, but for a comment in
        it, whatever size and format are asked for: the hub then costs next to no CPU.
    :param ready_made_bytes: what such an image is filled up to, without more to decode.
    :param clock_ahead: seconds that the hub's clock is ahead of the machine's; raise it to let URLs
        expire and rate limits pass without waiting.
    :param catalogue: models in the ``ai`` layout's words; see ``localhub/catalogue.py``.
    """

    key: str = field(default="local-key", repr=False)
    latency: float = 0.0
    at_once: int | None = None
    queue_wait: float = 0.0
    workers: int | None = None
    queue_bills: Literal["success", "enqueue"] = "success"
    row_keys: Literal["model_name", "model"] = "model_name"
    list_delay: float = 0.0
    detail_delay: float = 0.0
    cancel_ended: Literal["error", "ignore"] = "error"
    history_detail: Literal["wrapped", "bare"] = "wrapped"
    history_shows_generate: bool = False
    keep_alive: float = 15.0
    credits: float = 1000.0
    url_ttl: float = 600.0
    layouts: frozenset[str] = frozenset(LAYOUTS)
    rate_limit: int | None = None
    rate_window: float = 60.0
    namespaces: tuple[str, ...] = ("local-user", "local-org")
    user: dict[str, str] = field(
        default_factory=lambda: {"name": "local-user", "email": "local-user@example.com"}
    )
    authorize: bool = True
    answer: Literal["images", "image_url"] = "images"
    error_shape: Literal["typed", "message"] = "typed"
    files_need_key: bool = False
    files_origin: str | None = None
    default_size: tuple[int, int] = (1024, 1024)
    ready_made: bool = False
    ready_made_bytes: int = 0
    clock_ahead: float = 0.0
    catalogue: list[dict[str, Any]] = field(default_factory=default_catalogue, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _RULES:
            raise AttributeError(f"a local hub has no setting {name!r}; it has {', '.join(_RULES)}")
        object.__setattr__(self, name, _RULES[name](name, value))

    def as_dict(self) -> dict[str, Any]:
        """Return all settings but the key as plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "key"}
        return {**values, "layouts": sorted(self.layouts)}

    def update(self, values: Mapping[str, Any]) -> None:
        """Set several; none where one of them is wrong.

        :raises ValueError: naming the setting and what it takes.
        """
        unknown = sorted(set(values) - set(_RULES))
        if unknown:
            raise ValueError(f"no such setting: {', '.join(unknown)}; there are {', '.join(_RULES)}")
        read = {name: _RULES[name](name, value) for name, value in values.items()}
        for name, value in read.items():
            object.__setattr__(self, name, value)


def _wrong(name: str, wanted: str, value: Any) -> ValueError:
    return ValueError(f"{name} must be {wanted}, not {value!r}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "a number", value)
    return value


def _from_zero(name: str, value: Any) -> float:
    if _number(name, value) < 0:
        raise _wrong(name, "a number of at least 0", value)
    return float(value)


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(name, "a text that is not empty", value)
    return value


def _optional(rule: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else rule(name, value)


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def rule(name: str, value: Any) -> str:
        if value not in choices:
            raise _wrong(name, f"one of {', '.join(choices)}", value)
        return str(value)

    return rule


def _integer(least: int, *, optional: bool = False) -> Callable[[str, Any], int | None]:
    wanted = f"an integer of at least {least}{', or none' if optional else ''}"

    def rule(name: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _wrong(name, wanted, value)
        return value

    return rule


def _layouts(name: str, value: Any) -> frozenset[str]:
    chosen = LAYOUTS if value == "both" else (value,) if isinstance(value, str) else tuple(value)
    if not set(chosen) <= set(LAYOUTS):
        raise _wrong(name, "classic, ai or both", value)
    return frozenset(chosen)


def _namespaces(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not value:
        raise _wrong(name, "a list of names", value)
    return tuple(_text(name, item) for item in value)


def _size(name: str, value: Any) -> tuple[int, int]:
    try:
        width, height = (_integer(0)(name, side) or 1 for side in value)
    except (TypeError, ValueError):
        raise _wrong(name, "a width and a height in pixels", value) from None
    return width, height


def _user(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "an object with name and email", value)
    return dict(value)


def _catalogue(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) and "id" in item for item in value):
        raise _wrong(name, "a list of models, each with an id", value)
    return value


_RULES: dict[str, Callable[[str, Any], Any]] = {
    "key": _text,
    "latency": _from_zero,
    "at_once": _integer(1, optional=True),
    "queue_wait": _from_zero,
    "workers": _integer(0, optional=True),
    "queue_bills": _one_of("success", "enqueue"),
    "row_keys": _one_of("model_name", "model"),
    "list_delay": _from_zero,
    "detail_delay": _from_zero,
    "cancel_ended": _one_of("error", "ignore"),
    "history_detail": _one_of("wrapped", "bare"),
    "history_shows_generate": _boolean,
    "keep_alive": _from_zero,
    "credits": _from_zero,
    "url_ttl": _number,
    "layouts": _layouts,
    "rate_limit": _integer(0, optional=True),
    "rate_window": _from_zero,
    "namespaces": _namespaces,
    "user": _user,
    "authorize": _boolean,
    "answer": _one_of("images", "image_url"),
    "error_shape": _one_of("typed", "message"),
    "files_need_key": _boolean,
    "files_origin": _optional(_text),
    "default_size": _size,
    "ready_made": _boolean,
    "ready_made_bytes": _integer(0),
    "clock_ahead": _number,
    "catalogue": _catalogue,
}
