"""Loads what the triggers use off the event loop: the first import takes some tenths of a second, in which
no other trigger of the process would get on."""

from __future__ import annotations

import asyncio
from importlib import import_module

__all__ = ["loaded"]

_MODULES = (
    "airflow.providers.common.compat.connection",
    "airflow_provider_oxen.batch.waiting",
    "airflow_provider_oxen.hooks.oxen",
    "airflow_provider_oxen.jobs.following",
    "airflow_provider_oxen.jobs.waiting",
    "airflow_provider_oxen.sensors.readiness",
    "airflow_provider_oxen.triggers.events",
    "asgiref.sync",
    "jsonschema",
)

_done = False


async def loaded() -> None:
    """Return when all is imported."""
    global _done
    if not _done:
        for name in _MODULES:
            await asyncio.to_thread(import_module, name)
        _done = True
