"""Find out whether a model can be used now, later, or never.

The sensor (with its blocking client), its trigger and the operators all use this code.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenInvalidRequest,
    OxenModelNotFound,
    OxenRouteNotFound,
    OxenServerError,
)
from airflow_provider_oxen.api.models import Model, User
from airflow_provider_oxen.catalogue.check import check, near_names
from airflow_provider_oxen.catalogue.schema import sized
from airflow_provider_oxen.catalogue.values import coerce

__all__ = ["Readiness", "find_model", "find_price", "look", "prove_key"]

T = TypeVar("T")

log = logging.getLogger(__name__)


class Hub(Protocol):
    """Sends calls; either client does."""

    async def asend(self, call: calls.Call[T]) -> T: ...


class Readiness(NamedTuple):
    """The result of a look at a model.

    :ivar messages: what to log, as level and text.
    :ivar error: why the model can never be used.
    """

    state: Literal["ready", "not_yet", "never"]
    messages: tuple[tuple[int, str], ...] = ()
    error: OxenError | None = None


async def look(
    hub: Hub, name: str, parameters: Mapping[str, Any], *, fail_fast: bool, suggest: bool = True
) -> Readiness:
    """Look at a model.

    :param parameters: must fit the model's request schema; others that it requires may be missing.
    :param fail_fast: give up at once if the hub does not know the model.
    :param suggest: look up similar names for a model that is not there yet, with one more request.
    """
    try:
        # The catalogue answers without a key.
        await prove_key(hub)
        model = await hub.asend(calls.get_model(name))
    except OxenModelNotFound as error:
        if not fail_fast:
            near = await _suggestion(hub, name) if suggest else ""
            said = f"Model {name!r} is not there yet: the hub does not know it. {near}".rstrip()
            return Readiness("not_yet", ((logging.WARNING if near else logging.INFO, said),))
        error.advise(await _suggestion(hub, name))
        return Readiness("never", error=error)
    except OxenError as error:
        if error.retry_helps:
            return Readiness("not_yet", ((logging.WARNING, f"{error.message} Looking again later."),))
        return Readiness("never", error=error)
    schema = model.request_schema
    findings = check(model, sized(schema, coerce(schema, parameters)), whole=False)
    messages = tuple((logging.WARNING, message) for message in findings.warnings)
    if findings.never:
        reasons = "; ".join(findings.never)
        return Readiness("never", messages, OxenInvalidRequest(f"Waiting will not help: {reasons}."))
    if findings.not_yet:
        return Readiness("not_yet", (*messages, (logging.INFO, findings.not_yet)))
    return Readiness("ready", messages)


async def find_model(hub: Hub, name: str, validate: str) -> Model | None:
    """Return the model's catalogue entry, or None if it cannot be read and ``validate`` is ``warn``.

    :raises OxenModelNotFound: with similar names from the catalogue.
    """
    try:
        return await hub.asend(calls.get_model(name))
    except (OxenModelNotFound, OxenRouteNotFound, OxenServerError) as error:
        is_unknown = isinstance(error, OxenModelNotFound)
        if is_unknown:
            error.advise(await _suggestion(hub, name))
        if validate == "error":
            raise
        said = error.message if is_unknown else f"The model could not be checked: {error.message}"
        log.warning("%s Going on, because validate is 'warn'.", said)
        return None


async def find_price(hub: Hub, model: Model, *, needed: bool) -> Model:
    """Return the model with its pricing, from another route; without it if the hub does not have it.

    :param needed: whether a hub that cannot be asked is an error.
    """
    try:
        return await hub.asend(calls.get_priced_model(model.id))
    except OxenError as error:
        if needed and not isinstance(error, OxenRouteNotFound | OxenModelNotFound):
            raise
        return model


async def prove_key(hub: Hub) -> User | None:
    """Return the user of the key, or None if the hub does not say. (Listing models needs no key.)

    :raises OxenAuthenticationError: if the key is missing or wrong.
    """
    for call in calls.whose_key():
        with contextlib.suppress(OxenRouteNotFound):
            return await hub.asend(call)
    # A hub without these routes still has the queue, which also checks the key.
    await hub.asend(queue.list_queue())
    return None


async def _suggestion(hub: Hub, name: str) -> str:
    """Return "Did you mean …?" with names from the catalogue, or an empty text if it cannot be read."""
    try:
        models = await hub.asend(calls.list_models())
    except OxenError:
        return ""
    return near_names(name, (model for model in models if "image" in model.outputs))
