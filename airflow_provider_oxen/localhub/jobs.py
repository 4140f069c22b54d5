"""The queue's own routes for jobs that are in it: list, look, cancel."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_oxen.localhub.job import Job
from airflow_provider_oxen.localhub.judge import need_namespace
from airflow_provider_oxen.localhub.problems import Json, Refused
from airflow_provider_oxen.localhub.rows import row, signer
from airflow_provider_oxen.localhub.state import State

__all__ = ["JsonText", "cancel_job", "chosen", "is_known", "list_jobs", "no_such", "one_job"]

_ACTIVE = ("queued", "processing")


class JsonText(Response):
    """JSON that is text already."""

    media_type = "application/json"


async def list_jobs(request: Request) -> Response:
    """List the jobs that wait or are worked on, or those of the status asked for; never in pages."""
    state: State = request.app.state.hub
    state.need_key(request)
    status = request.query_params.get("status") or None
    jobs = state.books.active() if status is None or status in _ACTIVE else state.books.jobs()
    sign, key = signer(state, request), state.settings.row_keys
    rows = [row(job, key, sign) for job in chosen(request, jobs)]
    return JsonText(f'{{"count": {len(rows)}, "generations": [{", ".join(rows)}]}}')


async def one_job(request: Request) -> Response:
    """Tell how far a job is."""
    state: State = request.app.state.hub
    state.need_key(request)
    job = state.books.find(request.path_params["id"])
    if job is None or not is_known(state, job):
        raise no_such(request)
    return JsonText(row(job, state.settings.row_keys, signer(state, request)))


async def cancel_job(request: Request) -> Response:
    """End a job that is not over."""
    state: State = request.app.state.hub
    state.need_key(request)
    job = state.books.find(request.path_params["id"])
    if job is None:
        raise no_such(request)
    if not state.books.cancel(job) and state.settings.cancel_ended == "error":
        raise Refused(400, "already finished")
    return Json({"status": "success", "generation_id": job.id})


def chosen(request: Request, jobs: list[Job]) -> list[Job]:
    """Return those jobs that the query asks for and that show in lists by now.

    :raises Refused: 403 for a namespace that the key may not use.
    """
    state: State = request.app.state.hub
    wanted = {name: value for name, value in request.query_params.items() if value}
    namespace = need_namespace(state.settings, wanted.get("namespace"))
    latest = state.now() - state.settings.list_delay
    model, status = wanted.get("model"), wanted.get("status")
    if wanted.get("media_type", "image") != "image":
        return []
    return [
        job
        for job in jobs
        if job.billed.namespace == namespace
        and job.enqueued_at <= latest
        and (model is None or job.body["model"] == model)
        and (status is None or job.progress.status == status)
    ]


def is_known(state: State, job: Job) -> bool:
    """Whether the job can be looked up by now."""
    return job.enqueued_at + state.settings.detail_delay <= state.now()


def no_such(request: Request) -> Refused:
    return Refused(404, f"Generation not found: {request.path_params['id']}", shape="typed")
