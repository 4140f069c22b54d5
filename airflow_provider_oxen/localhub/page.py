"""The pages for people: what was billed and what is queued, and a model of the catalogue."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from airflow_provider_oxen.localhub.job import Job
from airflow_provider_oxen.localhub.ledger import Billed
from airflow_provider_oxen.localhub.state import State

__all__ = ["model_page", "page"]

_IMAGES = 12
_ROWS = 200
_JOBS = 50

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;"
    "background:Canvas;color:CanvasText;color-scheme:light dark}"
    "section{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:1rem}"
    "figure{margin:0}img{width:100%;border-radius:6px}figcaption,td{overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin-top:2rem}"
    "td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8886;vertical-align:top}"
)


def page(state: State) -> str:
    """Return the page: money, the last images, the queue, the ledger, newest first."""
    ledger = state.books.ledger
    entries = ledger.entries()[::-1]
    spent = f"{ledger.spent():.4f} USD spent, {state.settings.credits:.4f} USD left"
    figures = "".join(_figure(entry) for entry in entries[:_IMAGES])
    rows = [_row(entry) for entry in entries[:_ROWS]]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Local hub</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>Local hub</h1><p>{len(entries)} images billed, {spent}. All images are simulated.</p>"
        f"<section>{figures}</section>{_queue(state.books.jobs()[::-1])}"
        f"{_table(('Time', 'Model', 'Prompt', 'Seed', 'Size', 'USD'), rows)}</html>\n"
    )


def model_page(entry: Mapping[str, Any]) -> str:
    """Return the page of a model, as the hub has one for people to read: what it takes and what it costs.

    :param entry: of the catalogue, in the words of the ``ai`` layout.
    """
    schema = entry.get("request_schema") or {}
    needed = schema.get("required", ())
    rows = [
        _cells(name, rule.get("type"), rule.get("default", ""), "yes" if name in needed else "")
        for name, rule in schema.get("properties", {}).items()
    ]
    pricing = (entry.get("pricing") or {}).get("cost_per_image")
    price = f"{pricing} USD an image" if pricing is not None else "no fixed price"
    name = _text(entry["id"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{name}</h1><p>{price}. A model of the local hub.</p>"
        f"{_table(('Parameter', 'Type', 'Default', 'Required'), rows)}</html>\n"
    )


def _figure(entry: Billed) -> str:
    prompt = _text(entry.picture.prompt)
    return (
        f'<figure><a href="/_local/images/{entry.id}"><img src="/_local/images/{entry.id}" alt="{prompt}">'
        f"</a><figcaption>{prompt}</figcaption></figure>"
    )


def _queue(jobs: list[Job]) -> str:
    if not jobs:
        return ""
    counts = Counter(job.progress.status for job in jobs)
    told = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    rows = [
        _cells(_clock(job.enqueued_at), job.billed.picture.model, job.body["prompt"], _status(job), job.id)
        for job in jobs[:_JOBS]
    ]
    heads = ("Time", "Model", "Prompt", "Status", "Generation")
    return f"<h2>Queue</h2><p>{_text(told)}.</p>{_table(heads, rows)}"


def _status(job: Job) -> str:
    progress = job.progress
    return ": ".join(filter(None, [progress.status, progress.error_message]))


def _row(entry: Billed) -> str:
    picture = entry.picture
    size = f"{picture.width} x {picture.height} {picture.format}"
    moment = _clock(entry.time)
    return _cells(moment, picture.model, picture.prompt, picture.seed, size, f"{entry.cost:.4f}")


def _table(heads: tuple[str, ...], rows: list[str]) -> str:
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{''.join(rows)}</table>"


def _cells(*cells: object) -> str:
    return f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _text(value: object, limit: int = 300) -> str:
    text = str(value).encode(errors="replace").decode()
    return escape(text if len(text) <= limit else f"{text[: limit - 1]}…")
