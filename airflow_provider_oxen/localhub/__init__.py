"""A hub on your own machine: the same routes, drawn images, play money.

Use it to try the provider out and to test Dags without credits. It needs Starlette and uvicorn: Airflow 3
brings them; on Airflow 2.11 install the extra ``localhub``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_oxen.localhub.faults import Fault
    from airflow_provider_oxen.localhub.server import LocalHub
    from airflow_provider_oxen.localhub.settings import HubSettings

__all__ = ["Fault", "HubSettings", "LocalHub"]

_HOMES = {"Fault": "faults", "HubSettings": "settings", "LocalHub": "server"}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ModuleNotFoundError(
            f"The local hub needs {error.name}: pip install 'airflow-provider-oxen[localhub]'.",
            name=error.name,
        ) from error
