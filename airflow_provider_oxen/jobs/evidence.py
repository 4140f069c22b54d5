"""What proves that a job belongs to this task: rows of the hub's lists, and finally its record. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.catalogue.values import pixels
from airflow_provider_oxen.jobs.record import Record

__all__ = ["SKEW", "Matches", "is_another", "is_candidate", "look", "send_conflict"]

SKEW = 600.0
"""Seconds that the hub's clock may lag behind the worker's: far more than synchronised clocks differ, and far
less than a day, after which a scheduled task may ask for the same image again."""

_ELSEWHERE = frozenset({"model", "prompt", "response_format", "target_namespace"})
"""Fields of the body that a row has in another place, or not at all."""


class Matches(NamedTuple):
    """The rows that may be the job.

    :ivar certain: rows that give exactly this image: by a seed that was sent, or by the directory with the
        task's identity. Rows older than the request count only if they did not fail.
    :ivar possible: rows that agree in everything they contain but lack the proof, or where no proof can
        exist; and rows with the same prompt and seed that name the model or a parameter differently. They may
        belong to another task.
    """

    certain: list[Generation]
    possible: list[Generation]

    @property
    def best(self) -> Generation | None:
        """The certain match to use: the newest; a failed one only if there is no other."""
        order = sorted(self.certain, key=lambda row: (_is_bad(row), -(row.enqueued_at or 0)))
        return order[0] if order else None


def look(
    body: Mapping[str, Any],
    rows: Iterable[Generation],
    since: float | None,
    *,
    past: Collection[str] = (),
    unique: bool = False,
) -> Matches:
    """Return the rows with the same model, prompt, seed and every echoed parameter.

    :param since: unix seconds, by the worker's clock, before which it was not sent; None if not known.
    :param past: ids of the task's earlier generations, which are not the job.
    :param unique: whether nobody else has sent the body's seed. Then a row with this seed that differs in
        other fields still does not prove that the job is missing.
    """
    certain: dict[str, Generation] = {}
    possible: dict[str, Generation] = {}
    for row in rows:
        if row.generation_id in past:
            continue
        named = _is_named(body, row)
        # The same seed gives the same image, whoever asked for it and when.
        differs, older = _differs(body, row), _is_older(row, since)
        near = (unique and _has_seed(body, row)) or (since is not None and not older and _is_near(body, row))
        if (differs and not near) or (older and (_is_bad(row) or not named)):
            continue
        where = certain if named and not differs else possible
        # A row may be in two lists, or on two pages: the later one is more recent.
        where[row.generation_id] = row
    return Matches(list(certain.values()), list(possible.values()))


def is_candidate(body: Mapping[str, Any], row: Generation) -> bool:
    """Return whether :func:`look` may need a row; the many others need not be kept."""
    return row.prompt is None or _has_prompt(body, row) or _has_seed(body, row)


def _is_named(body: Mapping[str, Any], row: Generation) -> bool:
    echo = row.echo()
    told = row.model is not None and row.prompt is not None
    return told and any(body.get(name) is not None and name in echo for name in ("seed", "target_directory"))


def _is_near(body: Mapping[str, Any], row: Generation) -> bool:
    """Return whether a row differs only in fields that the hub may express in its own words."""
    echo = row.echo()
    directory = body.get("target_directory")
    if directory is not None and echo.get("target_directory", directory) != directory:
        return False
    return _has_prompt(body, row) and (body.get("seed") is None or _has_seed(body, row))


def _has_prompt(body: Mapping[str, Any], row: Generation) -> bool:
    return row.prompt is not None and row.prompt.strip() == str(body.get("prompt")).strip()


def is_another(body: Mapping[str, Any], row: Generation) -> bool:
    """Return whether the row of the job's id belongs to another job, with another model and prompt.

    The hub may know a model by several names, so a different name alone is no reason to refuse a paid image.
    """
    if row.model is None or row.model == body.get("model") or _has_seed(body, row):
        return False
    return not _has_prompt(body, row)


def _has_seed(body: Mapping[str, Any], row: Generation) -> bool:
    return body.get("seed") is not None and _same(body["seed"], row.echo().get("seed"))


def _differs(body: Mapping[str, Any], row: Generation) -> bool:
    """Return whether the row contradicts the body; a missing field counts neither for nor against it."""
    if row.model is not None and row.model != body["model"]:
        return True
    if row.prompt is not None and not _has_prompt(body, row):
        return True
    echo = row.echo()
    sent = {name: value for name, value in body.items() if name not in _ELSEWHERE}
    return any(name in echo and not _same(value, echo[name]) for name, value in sent.items())


def _same(sent: Any, echoed: Any) -> bool:
    """Return whether two values are equal: a hub may echo 1 for 1.0, or a number as text.

    An earlier version of this package sent sizes as they were given.
    """
    if (size := pixels(sent)) and size == pixels(echoed):
        return True
    if isinstance(sent, Mapping) and isinstance(echoed, Mapping):
        return sent.keys() == echoed.keys() and all(_same(sent[key], echoed[key]) for key in sent)
    if isinstance(sent, list | tuple) and isinstance(echoed, list | tuple):
        return len(sent) == len(echoed) and all(map(_same, sent, echoed))
    return bool(sent == echoed) or str(sent) == str(echoed)


def _is_older(row: Generation, since: float | None) -> bool:
    return since is not None and row.enqueued_at is not None and row.enqueued_at < since - SKEW


def _is_bad(row: Generation) -> bool:
    return row.status in ("failed", "cancelled")


def send_conflict(intent: Record, found: Record | None) -> str | None:
    """Return why the request of an intent must not be sent, or None if it may be.

    :param found: the record as read right before the first byte.
    """
    if found is None:
        # A store that had it a moment ago, and answers a try that is over as if there were none.
        return "The record of this task's job has disappeared: another try may be running."
    if (found.nonce, found.phase) != (intent.nonce, "intent"):
        return f"The record of this task's job belongs to another try now ({found.phase}, {found.job})."
    return None
