"""The record of a deferred batch, read where no earlier version has told its sha256."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenRecordError
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch.outcome import BatchOutcome
from airflow_provider_oxen.batch.record import BatchRecord, check_row
from airflow_provider_oxen.batch.rows import CheckedRow
from airflow_provider_oxen.batch.rowstore import RowStore
from airflow_provider_oxen.images.storage import LocalFolder


@pytest.fixture
def record(tmp_path: Any) -> Iterator[BatchRecord]:
    with RowStore() as rows:
        yield BatchRecord(LocalFolder(str(tmp_path)), rows, "5e" * 32, 1, "5e.1")


def test_record_is_read_with_or_without_its_sum(record):
    outcome = BatchOutcome(passes=True)
    name, written = record.save(outcome)

    for sha256 in (written, None):
        assert record.load(name, sha256, Counter()) == outcome


@pytest.mark.parametrize(
    "change", [{"identity": "0" * 64}, {"format": "another"}, {"ending": {"passes": "red"}}]
)
def test_record_that_is_anothers_or_damaged_stops(record, tmp_path, change):
    name, _ = record.save(BatchOutcome())
    path = tmp_path / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}) + "\n")

    with pytest.raises(OxenRecordError, match=r"is damaged"):
        record.load(name, None, Counter())


def test_row_with_a_line_before_its_end_is_damaged(record, tmp_path):
    row = CheckedRow(1, "a", GenerateRequest(model="m", prompt="A red cube"), "f1")
    record.rows.add(row)
    [facts] = record.rows.dump()
    assert check_row(facts) is facts

    with pytest.raises(ValueError, match="or has one before"):
        check_row({**facts, "entry": {"line": 1, "id": "a", "status": "generated"}})
