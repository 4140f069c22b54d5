"""What the hub shows of jobs: the queue with its rows, the history, and the stream of ended jobs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub.answers import Json, Refused, Stream
from airflow_provider_oxen.localhub.jobs import Job, Progress
from airflow_provider_oxen.localhub.state import State
from airflow_provider_oxen.localhub.validation import need_namespace

__all__ = ["cancel_job", "list_jobs", "list_records", "listen", "one_job", "one_record", "row", "usd"]

_ACTIVE = ("queued", "processing")
_PAGE_SIZE = 50
_LARGEST_PAGE = 1000

_TICK = 0.01
"""Seconds between two checks for ended jobs: jobs progress only when somebody looks."""

_OWN = frozenset({
    "generation_id", "model", "model_name", "prompt", "media_type", "status", "result_url", "error_message",
    "enqueued_at", "started_at", "completed_at", "cost", "num_generations",
})  # fmt: skip
"""Fields of a row that do not come from the request's parameters."""


async def list_jobs(state: State, request: Request) -> Response:
    """List the jobs that wait or run, or those with the requested status; never in pages."""
    status = request.query_params.get("status") or None
    billing = state.billing.settled()
    jobs = billing.active if status is None or status in _ACTIVE else billing.jobs
    sign, key = signer(state, request), state.settings.row_keys
    rows = [row(job, key, sign) for job in _chosen(state, request, list(jobs.values()))]
    return _json(f'{{"count": {len(rows)}, "generations": [{", ".join(rows)}]}}')


async def one_job(state: State, request: Request) -> Response:
    """Show the progress of a job."""
    job = _visible(state, request, state.billing.settled().jobs.get(request.path_params["id"]))
    return _json(row(job, state.settings.row_keys, signer(state, request)))


async def cancel_job(state: State, request: Request) -> Response:
    """End a job that has not ended."""
    job = state.billing.settled().jobs.get(request.path_params["id"])
    if job is None:
        raise _no_such(request)
    if not state.billing.cancel(job) and state.settings.cancel_ended == "error":
        raise Refused(400, "already finished")
    return Json({"status": "success", "generation_id": job.id})


async def list_records(state: State, request: Request) -> Response:
    """List a page of the history: every generation with its cost, newest first."""
    page = _integer(request, "page", 1, None)
    size = _integer(request, "page_size", _PAGE_SIZE, _LARGEST_PAGE)
    jobs = list(state.billing.settled().jobs.values())
    if state.settings.history_shows_generate:
        jobs = sorted([*jobs, *state.billing.calls.values()], key=lambda job: job.enqueued_at)
    jobs = _chosen(state, request, jobs)[::-1]
    sign, key = signer(state, request), state.settings.row_keys
    charged = [job.progress.cost for job in jobs if job.progress.cost is not None]
    rows = [row(job, key, sign, with_cost=True) for job in jobs[(page - 1) * size : page * size]]
    totals = {
        "count": len(rows),
        "page_number": page,
        "page_size": size,
        "total_pages": math.ceil(len(jobs) / size),
        "total_entries": len(jobs),
        "total_cost": usd(sum(charged)) if charged else None,
    }
    return _json(f'{json.dumps(totals)[:-1]}, "generations": [{", ".join(rows)}]}}')


async def one_record(state: State, request: Request) -> Response:
    """Show one generation with its cost."""
    id = request.path_params["id"]
    job = state.billing.settled().jobs.get(id)
    if job is None and state.settings.history_shows_generate:
        job = state.billing.calls.get(id)
    job = _visible(state, request, job)
    text = row(job, state.settings.row_keys, signer(state, request), with_cost=True)
    if state.settings.history_detail == "bare":
        return _json(text)
    return _json(f'{{"status": "success", "status_message": "resource_found", "generation": {text}}}')


async def listen(state: State, request: Request) -> Response:
    """Open a stream of what ends from now on; missed events are not sent again."""
    # Do this before the answer begins: a client that has seen the beginning misses nothing from then on.
    heard, sign, stream = len(state.billing.settled().ended), signer(state, request), object()
    state.streams.add(stream)

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal heard
        quiet_since = time.monotonic()
        while not await request.is_disconnected() and stream in state.streams and not state.closing.is_set():
            await state.pause(_TICK)
            ended = state.billing.settled().ended[heard:]
            heard += len(ended)
            lines = [_event(job, sign) for job in ended if job.progress.status != "cancelled"]
            if time.monotonic() - quiet_since >= state.settings.keep_alive:
                lines.append(b": keep-alive\n\n")
            if lines:
                quiet_since = time.monotonic()
                yield b"".join(lines)
        state.streams.discard(stream)

    # Break the stream in the middle, like a lost connection.
    return Stream(pieces(), None, "text/event-stream", cut=True)


def _event(job: Job, sign: Callable[[Job], str]) -> bytes:
    """Return the event that says how a job ended; its field names differ from a row's."""
    progress = job.progress
    fields: dict[str, Any] = {"generation_id": job.id, "status": progress.status, "media_type": "image"}
    if progress.status == "succeeded":
        fields |= {"model": job.body["model"]} | ({"url": sign(job)} if progress.has_url else {})
    else:
        fields["error"] = progress.error_message or ""
    return f"event: media_generation_completed\ndata: {json.dumps(fields)}\n\n".encode()


def row(job: Job, model_key: str, sign: Callable[[Job], str], with_cost: bool = False) -> str:
    """Return the row for queue and history, as JSON text: a list of 10,000 must not take a second.

    Only the parts that change between two looks are written again: the URL and the two names.

    :param model_key: the row's name for the field with the model.
    :param sign: makes the URL of a job's result.
    :param with_cost: whether to add the cost, as in the history.
    """
    progress = job.progress
    url = json.dumps(sign(job)) if progress.has_url else "null"
    cost = f', "cost": {json.dumps(usd(progress.cost))}' if with_cost else ""
    model = json.dumps(job.body["model"])
    rest = _rest(job, progress) + cost
    return f'{{"generation_id": "{job.id}", "{model_key}": {model}, "result_url": {url}, {rest}}}'


def usd(amount: float | None) -> str | None:
    """Return the decimal text of an amount, such as ``"0.014"``."""
    return None if amount is None else f"{amount:.6f}".rstrip("0").rstrip(".")


def signer(state: State, request: Request) -> Callable[[Job], str]:
    """Return a function that makes URLs valid for ``url_ttl`` seconds, from the job's end or from now on."""
    settings, now, origin = state.settings, state.now(), state.origin(request)

    def sign(job: Job) -> str:
        since = now if settings.sign_anew else job.progress.completed_at or now
        return state.links.make(origin, job.charge.namespace, job.charge.id, since + settings.url_ttl)

    return sign


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _rest(job: Job, progress: Progress) -> str:
    # Compare the identity: the progress is replaced as a whole.
    if job.row_text is None or job.row_text[0] is not progress:
        echoed = {name: value for name, value in job.body.items() if name not in _OWN}
        fields: dict[str, Any] = {
            "prompt": job.body.get("prompt"),
            "media_type": "image",
            "status": progress.status,
            "error_message": progress.error_message,
            **({} if progress.error_retryable is None else {"error_retryable": progress.error_retryable}),
            "enqueued_at": int(job.enqueued_at),
            "started_at": progress.started_at and int(progress.started_at),
            "completed_at": progress.completed_at and int(progress.completed_at),
            **echoed,
        }
        text = json.dumps(fields)[1:-1]
        job.row_text = (progress, text)
        return text
    return job.row_text[1]


def _chosen(state: State, request: Request, jobs: list[Job]) -> list[Job]:
    """Return the jobs that the query asks for and that lists show by now.

    :raises Refused: 403 for a namespace that the key may not use.
    """
    wanted = {name: value for name, value in request.query_params.items() if value}
    namespace = need_namespace(state.settings, wanted.get("namespace"))
    latest = state.now() - state.settings.list_delay
    model, status = wanted.get("model"), wanted.get("status")
    places = {"target_repo": wanted.get("repo"), "target_directory": wanted.get("folder")}
    if wanted.get("media_type", "image") != "image":
        return []
    return [
        job
        for job in jobs
        if job.charge.namespace == namespace
        and job.enqueued_at <= latest
        and (model is None or job.body["model"] == model)
        and (status is None or job.progress.status == status)
        and all(place is None or job.body.get(name) == place for name, place in places.items())
    ]


def _visible(state: State, request: Request, job: Job | None) -> Job:
    """Return the job if it can be looked up by now.

    :raises Refused: 404.
    """
    if job is None or job.enqueued_at + state.settings.detail_delay > state.now():
        raise _no_such(request)
    return job


def _no_such(request: Request) -> Refused:
    return Refused(404, f"Generation not found: {request.path_params['id']}", shape="typed")


def _integer(request: Request, name: str, default: int, largest: int | None) -> int:
    """:raises Refused: 400."""
    text = request.query_params.get(name) or str(default)
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if value < 1 or (largest and value > largest):
        wanted = f"between 1 and {largest}" if largest else "of at least 1"
        raise Refused(400, f"{name} must be an integer {wanted}")
    return value
