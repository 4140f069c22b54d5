"""A job in the hub's words, as JSON text: a list of 10,000 must not cost a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from airflow_provider_oxen.localhub.job import Job, Progress
from airflow_provider_oxen.localhub.state import State

__all__ = ["row", "signer", "usd"]

_OWN = frozenset({
    "generation_id", "model", "model_name", "prompt", "media_type", "status", "result_url", "error_message",
    "enqueued_at", "started_at", "completed_at", "cost", "num_generations",
})  # fmt: skip
"""What a row does not take from the request's parameters."""


def row(job: Job, model_key: str, sign: Callable[[Job], str], with_cost: bool = False) -> str:
    """Return the row of queue and history.

    Only what changes from one look to the next is written anew: the URL and the two names.

    :param model_key: what the row calls the model.
    :param sign: makes the URL of a job's result.
    :param with_cost: as the history tells it.
    """
    progress = job.progress
    url = json.dumps(sign(job)) if progress.has_url else "null"
    cost = f', "cost": {json.dumps(usd(progress.cost))}' if with_cost else ""
    model = json.dumps(job.body["model"])
    rest = _rest(job, progress) + cost
    return f'{{"generation_id": "{job.id}", "{model_key}": {model}, "result_url": {url}, {rest}}}'


def usd(amount: float | None) -> str | None:
    """Return the decimal string of an amount, such as ``"0.014"``."""
    return None if amount is None else f"{amount:.6f}".rstrip("0").rstrip(".")


def signer(state: State, request: Request) -> Callable[[Job], str]:
    """Return what makes URLs that work from now on for ``url_ttl`` seconds."""
    origin = state.settings.files_origin or str(request.base_url).rstrip("/")
    expires = state.now() + state.settings.url_ttl
    return lambda job: state.links.make(origin, job.billed.namespace, job.billed.id, expires)


def _rest(job: Job, progress: Progress) -> str:
    told = job.told
    # By identity: the progress is replaced as a whole.
    if told is None or told[0] is not progress:
        echoed = {name: value for name, value in job.body.items() if name not in _OWN}
        fields: dict[str, Any] = {
            "prompt": job.body["prompt"],
            "media_type": "image",
            "status": progress.status,
            "error_message": progress.error_message,
            "enqueued_at": int(job.enqueued_at),
            "started_at": _seconds(progress.started_at),
            "completed_at": _seconds(progress.completed_at),
            **echoed,
        }
        told = job.told = (progress, json.dumps(fields)[1:-1])
    return told[1]


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
