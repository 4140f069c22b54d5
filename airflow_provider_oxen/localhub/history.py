"""The history: every generation with what it cost, newest first, in pages."""

from __future__ import annotations

import json
import math

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub.jobs import JsonText, chosen, is_known, no_such
from airflow_provider_oxen.localhub.problems import Refused
from airflow_provider_oxen.localhub.rows import row, signer, usd
from airflow_provider_oxen.localhub.state import State

__all__ = ["list_records", "one_record"]

_PAGE_SIZE = 50
_LARGEST_PAGE = 1000


async def list_records(request: Request) -> Response:
    """List a page of the history."""
    state: State = request.app.state.hub
    state.need_key(request)
    page = _integer(request, "page", 1, None)
    size = _integer(request, "page_size", _PAGE_SIZE, _LARGEST_PAGE)
    jobs = state.books.jobs()
    if state.settings.history_shows_generate:
        jobs = sorted(jobs + state.books.calls(), key=lambda job: job.enqueued_at)
    jobs = chosen(request, jobs)[::-1]
    sign, key = signer(state, request), state.settings.row_keys
    rows = [row(job, key, sign, with_cost=True) for job in jobs[(page - 1) * size : page * size]]
    totals = {
        "count": len(rows),
        "page_number": page,
        "page_size": size,
        "total_pages": math.ceil(len(jobs) / size),
        "total_entries": len(jobs),
        "total_cost": usd(sum(job.progress.cost or 0.0 for job in jobs)),
    }
    return JsonText(f'{json.dumps(totals)[:-1]}, "generations": [{", ".join(rows)}]}}')


async def one_record(request: Request) -> Response:
    """Tell one generation with its cost."""
    state: State = request.app.state.hub
    state.need_key(request)
    id = request.path_params["id"]
    job = state.books.find(id)
    if job is None and state.settings.history_shows_generate:
        job = state.books.find_call(id)
    if job is None or not is_known(state, job):
        raise no_such(request)
    text = row(job, state.settings.row_keys, signer(state, request), with_cost=True)
    return JsonText(text if state.settings.history_detail == "bare" else f'{{"generation": {text}}}')


def _integer(request: Request, name: str, default: int, largest: int | None) -> int:
    """:raises Refused: 400."""
    text = request.query_params.get(name) or str(default)
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if value < 1 or (largest and value > largest):
        wanted = f"between 1 and {largest}" if largest else "of at least 1"
        raise Refused(400, f"{name} must be an integer {wanted}")
    return value
