"""The page of the Images view, served by Airflow's API server behind Airflow's own authorisation.

It shows what is in Airflow's database, and the originals of images where the deployment allows that. It loads
nothing from elsewhere, and every text in it is escaped.
"""

from __future__ import annotations

import re
import zlib
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from airflow_provider_oxen.images import pages
from airflow_provider_oxen.plugins import originals
from airflow_provider_oxen.plugins.pool import Busy, OriginalPool, OriginalResponse
from airflow_provider_oxen.plugins.query import MOST, RUNS, pushed
from airflow_provider_oxen.plugins.rows import Row, read_images
from airflow_provider_oxen.plugins.view import look

__all__ = ["build"]

log = getLogger(__name__)

_HERE = Path(__file__).parent / "page"

_HEADERS = {
    # Airflow shows the page in a frame of its own.
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
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
    templates = pages.environment(_HERE, strict=True)
    templates.filters["elapsed"] = _elapsed

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
    ) -> Response:
        """Return the page of a Dag, of a run where there is one, of a task where there is one."""
        allowed = originals.prefixes()
        view = look(
            session, dag_id, run_id, task_id, _index(map_index), offset=offset,
            may_open=lambda path: originals.find(path, allowed) is not None,
        )  # fmt: skip
        page = templates.get_template("images.html").render(
            root=_root(request),
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            view=view,
            totals=view.totals,
            runs=RUNS,
            most=MOST,
            now=datetime.now(UTC),
            first=_page(request, 0) if offset else None,
            next=_page(request, view.following) if view.following is not None else None,
        )
        return _packed(request, page)

    pool = OriginalPool()

    @app.get("/original/{dag_id}", dependencies=[Depends(_is_one_dag), may_see])
    async def original(
        request: Request, dag_id: str, run_id: str, task_id: str, image: int, map_index: str | None = None
    ) -> Response:
        """Return the original of an image. Which file that is, the task's XCom says, never the browser."""
        # Nobody learns from the answer what is there and what is not.
        missing = HTTPException(404, "There is no original that may be shown.")
        index = _index(map_index)
        row = Row(run_id, task_id, -1 if index is None else index, None)
        # Off the event loop, and over before the store is asked: so nobody waits with a database connection.
        path = await run_in_threadpool(_path_of, dag_id, row, image)
        prefix = originals.find(path, originals.prefixes()) if path else None
        if path is None or prefix is None:
            raise missing
        async with AsyncExitStack() as opening:
            try:
                opened = await opening.enter_async_context(pool.open(path, prefix, request.receive))
            except Busy:
                raise HTTPException(503, "Other images are being opened.", {"Retry-After": "5"}) from None
            except OSError as error:
                log.info("The original of image %d of %s is not shown: %s", image, task_id, error)
                raise missing from None
            return OriginalResponse(opened, opening.pop_all())

    app.mount("/page", StaticFiles(directory=_HERE), name="page")
    app.mount("/shared", StaticFiles(directory=pages.SHARED), name="shared")
    return app


def _path_of(dag_id: str, row: Row, image: int) -> str | None:
    """Return the path of one of a task's images, as the task has pushed it."""
    with create_session(scoped=False) as session:
        found = read_images(pushed(session, dag_id, [row]).get(row.key))
    return found.images[image].path if found and 0 <= image < len(found.images) else None


def _packed(request: Request, page: str) -> Response:
    """Return a page that Airflow does not compress.

    Most of it is previews. A search for repetitions finds none in them, and takes longer than all the rest.
    """
    content = page.encode()
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return HTMLResponse(content)
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return HTMLResponse(packer.compress(content) + packer.flush(), headers={"Content-Encoding": "gzip"})


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


def _elapsed(since: datetime, now: datetime) -> str:
    """Return how long ago something began, as the page's script writes it, too."""
    seconds = max(0, int((now - since).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )


def _root(request: Request) -> str:
    """Return Airflow's own path, which ends in a slash."""
    return str(request.base_url.path).removesuffix("oxen/")


def _page(request: Request, offset: int) -> str:
    return str(request.url.include_query_params(offset=offset).query)
