"""Check whether a model can do what a request asks: a catalogue entry and a request in, findings out."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.api.redact import redacted_line, without_queries
from airflow_provider_oxen.catalogue import schema

__all__ = ["Findings", "check", "near_names", "report"]

log = logging.getLogger(__name__)


class Findings(NamedTuple):
    """The problems of a request.

    :ivar never: problems that waiting will not solve: the model makes no images, or a parameter contradicts
        its schema.
    :ivar not_yet: why the model cannot run now, or None.
    :ivar warnings: what is unusual but may be right.
    """

    never: list[str]
    not_yet: str | None
    warnings: list[str]


def check(model: Model, parameters: Mapping[str, Any], *, whole: bool = True) -> Findings:
    """Check parameters against the model's catalogue entry.

    :param parameters: the request without the hub's own fields.
    :param whole: whether these are all parameters of a request.
    """
    never, warnings = [], []
    if "image" not in model.outputs:
        made = ", ".join(sorted(model.outputs)) or "the catalogue does not say what"
        never.append(f"Model {model.id!r} does not make images (it makes {made})")
    if model.deprecated:
        warnings.append(f"Model {model.id!r} is deprecated")
    for problem in schema.check(model.request_schema, parameters, whole=whole):
        (never if problem.is_error else warnings).append(problem.message)
    not_yet = f"Model {model.id!r} cannot run now: {model.obstacle}" if model.obstacle else None
    # The catalogue's texts, including the schemas, are untrusted.
    return Findings(
        [without_queries(text) for text in never],
        without_queries(not_yet) if not_yet else None,
        [without_queries(text) for text in warnings],
    )


def report(model: Model, parameters: Mapping[str, Any], validate: str) -> None:
    """Log what is unusual, and raise an error for what is wrong.

    :raises OxenInvalidRequest: naming every parameter, rule and value, if ``validate`` is ``error``.
    """
    findings = check(model, parameters)
    wrong = findings.never + ([findings.not_yet] if findings.not_yet else [])
    if findings.never and validate == "error":
        raise OxenInvalidRequest(
            f"Model {model.id!r} cannot do what is asked: {'; '.join(wrong)}.",
            remedy="Change the request; validate='warn' sends it as it is.",
        )
    if findings.not_yet and validate == "error":
        deploy = "Deploy it on the hub" if model.is_undeployed else "Choose another model"
        raise OxenInvalidRequest(
            f"{findings.not_yet}.", remedy=f"{deploy}, or wait until it can run with OxenModelSensor."
        )
    for message in (*wrong, *findings.warnings):
        log.warning("%s", message)


def near_names(wanted: str, models: Iterable[Model]) -> str:
    """Return a question that suggests the most similar model names, or the empty string."""
    names = [model.id for model in models]
    close = difflib.get_close_matches(wanted.lower(), names, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(repr(redacted_line(name)) for name in close)}?" if close else ""
