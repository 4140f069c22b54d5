"""What a worker asks the hub for has an end, whatever the hub says."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.clock import Clock
from airflow_provider_oxen.api.errors import OxenServerError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.tasks import generations


def test_history_without_an_end_cannot_be_told(monkeypatch):
    ids = itertools.count()

    async def send(call: Any) -> Any:
        if "history" not in call.name:
            return []
        row = Generation.model_validate({"generation_id": f"g-{next(ids)}", "status": "succeeded"})
        return SimpleNamespace(generations=[row], total_pages=None)

    monkeypatch.setattr(generations, "PAGES", 3)

    with pytest.raises(OxenServerError, match="longer than the 3 pages that are read"):
        unsuspended(generations.candidates(SimpleNamespace(send=send, clock=Clock()), None, []))
    assert next(ids) == 3
