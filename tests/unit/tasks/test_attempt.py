"""What a try finds before anything is spent."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenStoreUnavailable
from airflow_provider_oxen.tasks.attempt import ImageAttempt
from tests.unit.jobs.test_resolve import FIRST


def test_place_that_loses_a_record_is_found_out_before_anything_is_spent():
    created: list[Any] = []
    store: Any = SimpleNamespace(read=lambda: None, create=created.append)
    output: Any = SimpleNamespace(check=lambda: None)
    nothing: Any = None
    task = replace(FIRST, has_store=True, begins=True)
    attempt = ImageAttempt(task, output, store, nothing, nothing, logging.getLogger())

    with pytest.raises(OxenStoreUnavailable, match="loses what it is given") as caught:
        attempt.look()

    assert [record.phase for record in created] == ["not_sent"]
    assert caught.value.spent == "no"
