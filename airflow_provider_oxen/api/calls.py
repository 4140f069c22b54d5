"""One function for each endpoint; it returns a :class:`Call`, which says everything except how to send it.

The calls of the queue and the history are in :mod:`.queue`. :class:`~airflow_provider_oxen.api.client.Client`
and its async twin send every call in the same way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from airflow_provider_oxen.api import rows
from airflow_provider_oxen.api.jsontext import MAX_VALUES
from airflow_provider_oxen.api.models import GenerateAnswer, GenerateRequest, Model, User
from airflow_provider_oxen.api.statuses import RUNNING, normalize_status

__all__ = [
    "LAYOUTS",
    "Call",
    "Layout",
    "NotYet",
    "generate",
    "get_model",
    "get_priced_model",
    "list_models",
    "whose_key",
]

T = TypeVar("T")
Layout = Literal["classic", "ai"]

LAYOUTS: tuple[Layout, Layout] = ("classic", "ai")
"""The hub's path layouts, in the order in which ``auto`` tries them."""


FEW_VALUES = 100_000
"""How many values an answer about one thing may hold; a model's schema has some hundreds."""


class NotYet(ValueError):
    """The answer names a generation, but holds no image yet."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request to the hub, as data.

    :ivar name: what the request does, for messages: ``generate an image``.
    :ivar paths: path by layout; the same path twice for a route that both layouts share.
    :ivar parse: turns the decoded JSON into the result; raises ``ValueError`` if it cannot.
    :ivar paid: whether an accepted request costs money; a paid call is never sent again blindly.
    :ivar model: the requested model, for messages.
    :ivar generation: the requested generation. A 404 with the hub's own message means that the hub does not
        know it.
    :ivar many: how many values its answer may hold.
    :ivar patience: seconds in which some part of the answer must arrive; None: the connection's timeout.
    :ivar slack: the whole answer must arrive within this many times that time.
    :ivar read: reads a long answer directly from its bytes; see :mod:`.bulk`. It raises ``ValueError`` for an
        unusual answer, which is then parsed like any other.
    """

    name: str
    paths: Mapping[Layout, str]
    parse: Callable[[Any], T] = field(repr=False)
    method: Literal["GET", "POST", "DELETE"] = "GET"
    params: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    paid: bool = False
    model: str | None = None
    generation: str | None = None
    many: int = FEW_VALUES
    patience: float | None = 30.0
    slack: int = 1
    read: Callable[[bytes], T] | None = field(default=None, repr=False)

    @property
    def has_layouts(self) -> bool:
        """Whether the path depends on the layout."""
        return self.paths["classic"] != self.paths["ai"]


def generate(request: GenerateRequest) -> Call[GenerateAnswer]:
    """POST a request for an image and wait for it. Costs money when accepted."""
    return Call(
        name="generate an image",
        method="POST",
        paths={"classic": "/api/images/generate", "ai": "/api/ai/images/generate"},
        parse=_generated,
        body=request.body(),
        paid=True,
        model=request.model,
        patience=None,
        # The wait for the image may use up the timeout: allow as long again for the body.
        slack=2,
    )


def list_models(search: str | None = None) -> Call[list[Model]]:
    """GET the catalogue, or the part of it that the hub finds for ``search``. Needs no key."""
    tail = "/search" if search else ""
    return Call(
        name="list the models",
        paths={layout: f"{base}{tail}" for layout, base in _MODELS.items()},
        parse=_models,
        many=MAX_VALUES,
        params={"search": search} if search else None,
    )


def get_model(model: str) -> Call[Model]:
    """GET one model with its request schema. Needs no key."""
    return Call(
        name="look up the model",
        paths={layout: f"{base}/{quote(model, safe='')}" for layout, base in _MODELS.items()},
        parse=_model,
        model=model,
    )


def get_priced_model(model: str) -> Call[Model]:
    """GET one model with its price, which only the ``ai`` layout has."""
    return replace(get_model(model), paths=dict.fromkeys(LAYOUTS, f"{_MODELS['ai']}/{quote(model, safe='')}"))


def whose_key() -> tuple[Call[User], ...]:
    """GET the user of the key. Free. Returns two routes to try, newer first; a hub may have neither."""
    return tuple(
        Call(name="check the key", paths=dict.fromkeys(LAYOUTS, path), parse=_user)
        for path in ("/api/users/me", "/api/authorize")
    )


_MODELS: dict[Layout, str] = {"classic": "/api/evaluations/models", "ai": "/api/ai/models"}


def _generated(data: Any) -> GenerateAnswer:
    row = rows.unwrapped(data)
    if rows.id_of(row) and normalize_status(row.get("status")) in RUNNING:
        raise NotYet("the image is not there yet")
    answer = GenerateAnswer.model_validate(data)
    if not answer.images:
        raise ValueError("it holds neither a link to an image nor its bytes")
    return answer


def _models(data: Any) -> list[Model]:
    items = data.get("data", data.get("models")) if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise ValueError("the answer holds no list of models")
    found = []
    for item in items:
        # One odd entry must not hide the others.
        with contextlib.suppress(ValidationError):
            found.append(Model.model_validate(item))
    return found


def _model(data: Any) -> Model:
    for wrapper in ("data", "model"):
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    return Model.model_validate(data)


def _user(data: Any) -> User:
    return User.model_validate(data.get("user", data) if isinstance(data, dict) else data)
