"""The Images view of Airflow's web interface: what Airflow loads of it in each of its processes.

The page behind it is built when it is first asked for, in the API server alone.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

__all__ = ["PREFIX", "OxenPlugin"]

PREFIX = "/oxen"
"""Where Airflow's API server serves the page."""

_DAG = "oxen/images/{DAG_ID}"
# Relative, so that it is found where Airflow itself is served under a path. What identifies a run may hold
# slashes, which no path would keep.
_RUN = f"{_DAG}?run_id={{RUN_ID}}"
_TASK = f"{_RUN}&task_id={{TASK_ID}}&map_index={{MAP_INDEX}}"


class _Late:
    """An ASGI application that is made when it is first called."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from airflow_provider_oxen.plugins.app import build

            self._app = build()
        await self._app(scope, receive, send)


def _view(destination: str, href: str) -> dict[str, Any]:
    route = f"oxen-images-{destination.replace('_', '-')}"
    return {"name": "Images", "href": href, "destination": destination, "url_route": route}


class OxenPlugin(AirflowPlugin):
    """Adds **Images** to a Dag, a Dag run and a task instance; Airflow before 3.1 has no place for it."""

    name = "oxen"
    fastapi_apps = [  # noqa: RUF012 (as Airflow declares it)
        {"app": _Late(), "url_prefix": PREFIX, "name": "Oxen.ai images"}
    ]
    external_views = [  # noqa: RUF012 (as Airflow declares it)
        _view("dag", _DAG),
        _view("dag_run", _RUN),
        _view("task_instance", _TASK),
    ]
