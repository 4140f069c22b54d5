"""``/_local/``: routes for tests and people to control the local hub itself, and pages. No key is needed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from airflow_provider_oxen.localhub import catalogue
from airflow_provider_oxen.localhub.answers import Json, Refused, no_route
from airflow_provider_oxen.localhub.faults import Fault
from airflow_provider_oxen.localhub.jobs import Charge, Job
from airflow_provider_oxen.localhub.settings import reasons
from airflow_provider_oxen.localhub.state import State
from airflow_provider_oxen.localhub.validation import json_body, need_model

__all__ = ["ROUTES"]

_IMAGES = 12
_ROWS = 200
_JOBS = 50


async def show(state: State, request: Request) -> Response:
    """Show the money, the latest images, the queue and the ledger on a page, newest first."""
    billing = state.billing.settled()
    charges, jobs = [*billing.ledger.values()][::-1], [*billing.jobs.values()][::-1]
    spent = f"{billing.spent():.4f} USD spent, {state.settings.credits:.4f} USD left"
    counts = sorted(Counter(job.progress.status for job in jobs).items())
    queue = {
        "title": "Queue",
        "summary": ", ".join(f"{number} {status}" for status, number in counts) + ".",
        "heads": ("Time", "Model", "Prompt", "Status", "Generation"),
        "rows": map(_job_cells, jobs[:_JOBS]),
    }
    ledger = {
        "heads": ("Time", "Model", "Prompt", "Seed", "Size", "USD"),
        "rows": map(_ledger_cells, charges[:_ROWS]),
    }
    return _page(
        title="Local hub",
        summary=f"{len(charges)} images billed, {spent}. All images are simulated.",
        images=[(charge.id, charge.picture.prompt) for charge in charges[:_IMAGES]],
        tables=[queue, ledger] if jobs else [ledger],
    )


async def show_model(state: State, request: Request) -> Response:
    """Show a model's page, like the hub's own: its parameters and its price."""
    entry = need_model(state.settings, request.path_params["model"])
    needed = (entry.get("request_schema") or {}).get("required", ())
    rows = [
        (name, rule.get("type"), rule.get("default", ""), "yes" if name in needed else "")
        for name, rule in catalogue.properties(entry).items()
    ]
    pricing = (entry.get("pricing") or {}).get("cost_per_image")
    price = f"{pricing} USD an image" if pricing is not None else "no fixed price"
    table = {"heads": ("Parameter", "Type", "Default", "Required"), "rows": rows}
    return _page(title=entry["id"], summary=f"{price}. A model of the local hub.", tables=[table])


async def image(state: State, request: Request) -> Response:
    """Send an image to that page, without a signature."""
    charge = state.billing.settled().ledger.get(request.path_params["id"])
    if charge is None:
        return no_route()
    return Response(await charge.content(), media_type=charge.picture.media_type)


async def ledger(state: State, request: Request) -> Response:
    charges = list(state.billing.settled().ledger.values())
    return Json(await asyncio.to_thread(lambda: [charge.as_dict() for charge in charges]))


async def jobs(state: State, request: Request) -> Response:
    return Json([job.as_dict() for job in state.billing.settled().jobs.values()])


async def requests(state: State, request: Request) -> Response:
    return Json(state.requests())


async def settings(state: State, request: Request) -> Response:
    """List the settings; PATCH sets those in the body, with ``deployments`` as ``{model: status}``."""
    # The credits are a setting, too. A change takes effect from now on: first settle what is due.
    state.billing.settled()
    if request.method == "PATCH":
        values = await json_body(request)
        deployments = values.pop("deployments", {})
        try:
            state.settings.update(values)
        except ValueError as error:
            raise Refused(400, str(error)) from error
        for id, status in deployments.items():
            need_model(state.settings, id)["deployments"] = [{"status": status}]
    return Json(state.settings.as_dict())


async def faults(state: State, request: Request) -> Response:
    """Add one fault or a list of them, list those still to come, or drop them (DELETE)."""
    if request.method == "DELETE":
        state.faults.clear()
    if request.method == "POST":
        body = (await request.body()).strip()
        try:
            read = TypeAdapter(list[Fault]).validate_json(body if body.startswith(b"[") else b"[%b]" % body)
        except ValidationError as error:
            raise Refused(400, f"Not a fault: {reasons(error)}") from error
        state.faults.add(*read)
    return Json(state.faults.as_dicts())


async def streams(state: State, request: Request) -> Response:
    """Count the open streams of events, or break them (DELETE)."""
    if request.method == "DELETE":
        state.streams.clear()
    return Json({"open": len(state.streams)})


async def reset(state: State, request: Request) -> Response:
    state.reset()
    return Json(state.settings.as_dict())


ROUTES: list[tuple[Any, ...]] = [
    ("/ai/models/{model:path}", show_model),
    ("/_local", show),
    ("/_local/", show),
    ("/_local/images/{id}", image),
    ("/_local/ledger", ledger),
    ("/_local/jobs", jobs),
    ("/_local/requests", requests),
    ("/_local/settings", settings, "GET", "PATCH"),
    ("/_local/faults", faults, "GET", "POST", "DELETE"),
    ("/_local/streams", streams, "GET", "DELETE"),
    ("/_local/reset", reset, "POST"),
]
"""Path, endpoint and methods; GET if none is given."""


def _page(**content: Any) -> Response:
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    html = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(template).render(content)
    policy = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    # Half a surrogate pair in a prompt must not break the page.
    return HTMLResponse(html.encode(errors="replace"), headers={"content-security-policy": policy})


def _ledger_cells(charge: Charge) -> tuple[object, ...]:
    picture = charge.picture
    size = f"{picture.width} x {picture.height} {picture.format}"
    cost = f"{charge.cost:.4f}"
    return _clock(charge.time), picture.model, picture.prompt, picture.seed, size, cost


def _job_cells(job: Job) -> tuple[object, ...]:
    picture, progress = job.charge.picture, job.progress
    status = f"{progress.status}: {progress.error_message}" if progress.error_message else progress.status
    return _clock(job.enqueued_at), picture.model, picture.prompt, status, job.id


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))
