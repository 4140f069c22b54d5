"""The page of the Images view, served by Airflow's API server behind Airflow's own authorisation.

It shows what is in Airflow's database and nothing else: it needs no credentials of a store, loads nothing
from elsewhere, and every text in it is escaped.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.staticfiles import StaticFiles

from airflow_provider_oxen.plugins.query import RUNS, rows
from airflow_provider_oxen.plugins.tiles import Tile, tiles_of

__all__ = ["PAGE", "build"]

PAGE = 200
"""Tiles of a page at most."""

_HERE = Path(__file__).parent / "page"

_HEADERS = {
    # Airflow shows the page in a frame of its own.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_LARGEST = 2**31 - 1
"""Index of a mapped task that no database holds more of; there is no such task."""

_OFFSET = Query(0, ge=0, le=1_000_000)


def build() -> FastAPI:
    """Return the application."""
    app = FastAPI(title="Oxen.ai images", openapi_url=None, docs_url=None, redoc_url=None)
    pages = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)

    @app.middleware("http")
    async def guard(request: Request, call: Any) -> Any:
        response = await call(request)
        response.headers.update(_HEADERS)
        return response

    may_see = Depends(requires_access_dag(method="GET", access_entity=DagAccessEntity.XCOM))

    # First of all: Airflow takes "~" for all Dags.
    @app.get("/images/{dag_id}", dependencies=[Depends(_is_one_dag), may_see], response_class=HTMLResponse)
    def images(
        request: Request,
        session: SessionDep,
        dag_id: str,
        run_id: str | None = None,
        task_id: str | None = None,
        map_index: str | None = None,
        offset: int = _OFFSET,
    ) -> str:
        """Return the page of a Dag, of a run where there is one, of a task where there is one."""
        found = rows(
            session, dag_id, run_id, task_id, _index(map_index), offset=offset, limit=PAGE + 1
        )  # fmt: skip
        shown: list[Tile] = []
        taken = 0
        for row in found[:PAGE]:
            new = list(tiles_of(row))
            if len(shown) + len(new) > PAGE:
                break
            shown += new
            taken += 1
        return pages.get_template("images.html").render(
            root=_root(request),
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            tiles=shown,
            runs=RUNS,
            images=sum(tile.kind == "image" for tile in shown),
            failed=sum(tile.kind == "failed" for tile in shown),
            open=sum(tile.kind == "open" for tile in shown),
            first=_page(request, 0) if offset else None,
            next=_page(request, offset + taken) if taken < len(found) else None,
        )

    app.mount("/page", StaticFiles(directory=_HERE), name="page")
    return app


def _is_one_dag(dag_id: str, run_id: str | None = None, task_id: str | None = None) -> None:
    # A database may refuse a text with a zero in it.
    if dag_id.strip() in ("", "~") or "\0" in f"{dag_id}{run_id}{task_id}":
        raise HTTPException(404, "Name one Dag.")


def _index(text: str | None) -> int | None:
    """Return the index of a mapped task, None where Airflow's web interface has put none in its place."""
    if not re.fullmatch(r"-?[0-9]{1,100}", text or "", re.ASCII):
        return None
    # A database refuses what its integers do not hold.
    return min(max(int(text or ""), -1), _LARGEST)


def _root(request: Request) -> str:
    """Return Airflow's own path, which ends in a slash."""
    return str(request.base_url.path).removesuffix("oxen/")


def _page(request: Request, offset: int) -> str:
    return str(request.url.include_query_params(offset=offset).query)
