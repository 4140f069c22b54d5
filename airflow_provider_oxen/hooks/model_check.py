"""Ask the hub for the model before anything is spent, and say what stands against it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_oxen.api import calls
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenError,
    OxenInvalidRequest,
    OxenModelNotFound,
    OxenRouteNotFound,
    OxenServerError,
)
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.jobs.check import check, near_names

__all__ = ["ask_for_model", "report", "suggestion"]

log = logging.getLogger(__name__)


def ask_for_model(client: Client, name: str, validate: str) -> Model | None:
    """Return the model's catalogue entry, or None where it cannot be had and ``validate`` is ``warn``.

    :raises OxenModelNotFound: with near names from the catalogue.
    """
    try:
        return client.send(calls.get_model(name))
    except OxenModelNotFound as error:
        error.message += suggestion(client, name)
        if validate == "error":
            raise
        log.warning("%s Going on, because validate is 'warn'.", error)
    except (OxenRouteNotFound, OxenServerError) as error:
        if validate == "error":
            raise
        log.warning("The model could not be checked: %s Going on, because validate is 'warn'.", error)
    return None


def report(model: Model, parameters: Mapping[str, Any], validate: str) -> None:
    """Log what is odd and raise what is wrong.

    :raises OxenInvalidRequest: naming every parameter, rule and value, where ``validate`` is ``error``.
    """
    findings = check(model, parameters)
    wrong = findings.never + ([findings.not_yet] if findings.not_yet else [])
    if wrong and validate == "error":
        raise OxenInvalidRequest(
            f"Model {model.id!r} cannot do what is asked: {'; '.join(wrong)}. Nothing was spent. "
            "(validate='warn' sends it all the same.)"
        )
    for message in (*wrong, *findings.warnings):
        log.warning("%s", message)


def suggestion(client: Client, name: str) -> str:
    """Return «Did you mean …?» from the catalogue, or nothing where that cannot be had."""
    try:
        models = client.send(calls.list_models())
    except OxenError:
        return ""
    return near_names(name, (model for model in models if "image" in model.outputs))
