"""Can a model be used now, later, or never? What to ask the hub, and what the answers mean.

One decision for the sensor, which pokes with a client, and for its trigger, which does so with an async
one: it says what is to be asked, is given the answer or the error, and ends with a verdict. It does no I/O.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenInvalidRequest,
    OxenModelNotFound,
    OxenRouteNotFound,
)
from airflow_provider_oxen.api.schema import coerce
from airflow_provider_oxen.jobs.check import check, near_names

if TYPE_CHECKING:
    from airflow_provider_oxen.api.calls import Call
    from airflow_provider_oxen.api.client import AsyncClient, Client

__all__ = ["Readiness", "ask", "ask_async"]


class Readiness(NamedTuple):
    """What a look at a model found.

    :ivar told: what to log, as level and message.
    :ivar error: why the model never can be used.
    """

    state: Literal["ready", "not_yet", "never"]
    told: tuple[tuple[int, str], ...] = ()
    error: OxenError | None = None


_Look: TypeAlias = Generator["Call[Any]", Any, Readiness]


def ask(client: Client, model: str, parameters: Mapping[str, Any], *, fail_fast: bool) -> Readiness:
    """Look at a model.

    :param parameters: must fit the model's request schema; others that it requires may be missing.
    :param fail_fast: whether a model that the hub does not know never will be there.
    """
    look = _look(model, parameters, fail_fast)
    try:
        call = next(look)
        while True:
            try:
                answer = client.send(call)
            except OxenError as error:
                call = look.throw(error)
            else:
                call = look.send(answer)
    except StopIteration as end:
        found: Readiness = end.value
        return found


async def ask_async(
    client: AsyncClient, model: str, parameters: Mapping[str, Any], *, fail_fast: bool
) -> Readiness:
    """Look at a model, as :func:`ask` does."""
    look = _look(model, parameters, fail_fast)
    try:
        call = next(look)
        while True:
            try:
                answer = await client.send(call)
            except OxenError as error:
                call = look.throw(error)
            else:
                call = look.send(answer)
    except StopIteration as end:
        found: Readiness = end.value
        return found


def _look(name: str, parameters: Mapping[str, Any], fail_fast: bool) -> _Look:
    try:
        yield from _prove_key()
        model = yield calls.get_model(name)
    except OxenModelNotFound as error:
        if not fail_fast:
            said = f"Model {name!r} is not there yet: the hub does not know it."
            return Readiness("not_yet", ((logging.INFO, said),))
        error.message += yield from _suggestion(name)
        return Readiness("never", error=error)
    except OxenError as error:
        if error.retry_helps:
            return Readiness("not_yet", ((logging.WARNING, f"{error} Looking again later."),))
        return Readiness("never", error=error)
    findings = check(model, coerce(model.request_schema, parameters), whole=False)
    told = tuple((logging.WARNING, message) for message in findings.warnings)
    if findings.never:
        reasons = "; ".join(findings.never)
        return Readiness("never", told, OxenInvalidRequest(f"Waiting will not help: {reasons}."))
    if findings.not_yet:
        return Readiness("not_yet", (*told, (logging.INFO, findings.not_yet)))
    return Readiness("ready", told)


def _prove_key() -> Generator[Call[Any], Any, None]:
    # The catalogue answers without a key.
    try:
        yield calls.authorize()
    except OxenRouteNotFound:
        # A hub without that route has the queue, which asks for the key too.
        yield queue.list_queue()


def _suggestion(name: str) -> Generator[Call[Any], Any, str]:
    try:
        models = yield calls.list_models()
    except OxenError:
        return ""
    return near_names(name, (model for model in models if "image" in model.outputs))
