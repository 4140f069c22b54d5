"""What is to be waited for is read out of the record of a batch, and nothing is taken for it that is not."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.triggers import batch_record
from airflow_provider_oxen.triggers.batch_record import FORMAT, read_waiting

IDENTITY = "5e" * 32
NAME = f".batch-{IDENTITY[:16]}.jsonl"
HEADER = {"format": FORMAT, "identity": IDENTITY, "rows": 1}


def written(folder: Path, *lines: Any) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (folder / NAME).write_text(text, encoding="utf-8")
    return folder


def read(folder: Any, jobs: int = 1) -> dict[str | None, list[str]]:
    return read_waiting(str(folder), None, NAME, IDENTITY, jobs)


@pytest.fixture(params=["path", "url"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder, as a local path and as a URL that Airflow's object storage opens."""
    return str(tmp_path) if request.param == "path" else tmp_path.as_uri()


def test_ids_are_told_by_namespace_in_the_order_of_the_rows(tmp_path, place):
    written(
        tmp_path,
        {**HEADER, "rows": 5},
        {"line": 1, "generation": "c", "namespace": None},
        {"line": 2, "generation": "a", "namespace": "team"},
        {"line": 3, "generation": "b"},
        {"line": 4, "entry": {"generation_id": "kept"}},
        {"line": 5, "generation": None},
    )

    assert read(place, 3) == {None: ["c", "b"], "team": ["a"]}


def test_batch_without_rows_waits_for_nothing(tmp_path):
    assert read(written(tmp_path, {**HEADER, "rows": 0}), 0) == {}


def test_what_a_later_version_adds_is_passed_over(tmp_path):
    written(tmp_path, {**HEADER, "spent": 0.1}, {"generation": "a", "colour": "red"})

    assert read(tmp_path) == {None: ["a"]}


def test_record_that_was_replaced_is_read_as_it_is_now(tmp_path, place):
    written(tmp_path, HEADER, {"generation": "a"})
    read(place)
    written(tmp_path, {**HEADER, "rows": 2}, {"generation": "a"}, {"generation": "b"})

    assert read(place, 2) == {None: ["a", "b"]}


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([""], "line 1 is not JSON"),
        (["\n"], "line 1 is not JSON"),
        ([[]], "line 1 is not a JSON object"),
        ([{**HEADER, "format": "airflow-provider-oxen/batch/2"}], f"does not tell the format {FORMAT}"),
        ([{"generation": "a"}], f"does not tell the format {FORMAT}"),
        ([{**HEADER, "rows": "1"}], "its first line does not tell the number of rows"),
        ([HEADER], "its first line tells of 1 rows, and 0 follow"),
        ([HEADER, {}, {}], "its first line tells of 1 rows, and 2 follow"),
        ([HEADER, '{"generation": "a", "prom'], "line 2 is not JSON"),
        ([HEADER, "[" * 100_000 + "\n"], "line 2 is not JSON"),
        ([HEADER, '"a"\n'], "line 2 is not a JSON object"),
        ([HEADER, {"generation": 7}], "line 2 tells no id of a generation, or no namespace, that is text"),
        ([HEADER, {"generation": "a", "namespace": ["b"]}], "line 2 tells no id of a generation"),
    ],
)
def test_damaged_record_says_where_and_why(tmp_path, lines, why):
    written(tmp_path, *lines)

    with pytest.raises(OxenRecordError) as caught:
        read(tmp_path)

    assert f"The record of the batch, {tmp_path.as_uri()}/{NAME}, is damaged: " in caught.value.message
    assert why in caught.value.message


def test_record_that_is_no_text_is_damaged(tmp_path):
    (tmp_path / NAME).write_bytes(b"\xff\xfe\x00")

    with pytest.raises(OxenRecordError, match="line 1 is not JSON"):
        read(tmp_path)


def test_record_of_another_batch_is_not_taken(tmp_path):
    written(tmp_path, {**HEADER, "identity": "6f" * 32}, {"generation": "a"})

    with pytest.raises(OxenRecordError, match="belongs to another batch"):
        read(tmp_path)


def test_record_that_is_not_there_is_an_error_of_the_store(tmp_path, place):
    with pytest.raises(OxenStoreUnavailable) as caught:
        read(place)

    assert caught.value.message == f"The record of the batch, {tmp_path.as_uri()}/{NAME}, is not there."


def test_record_that_cannot_be_read_is_an_error_of_the_store(tmp_path):
    (tmp_path / NAME).mkdir()

    with pytest.raises(OxenStoreUnavailable, match="could not be read: UnreadableFile: "):
        read(tmp_path)


def test_error_of_a_store_is_told_without_a_signature(tmp_path, monkeypatch):
    def open_folder(*_: Any) -> None:
        raise ZeroDivisionError("no such https://store.example/a?X-Amz-Signature=secret")

    monkeypatch.setattr(batch_record, "open_folder", open_folder)

    with pytest.raises(OxenStoreUnavailable, match=r"ZeroDivisionError: no such https://store\.example/a\.$"):
        read(tmp_path)


def test_store_whose_driver_is_missing_says_what_to_install():
    with pytest.raises(OxenInvalidRequest, match="pip install 'apache-airflow-providers-google' 'gcsfs"):
        read_waiting("gs://bucket/out", None, NAME, IDENTITY, 1)


def test_long_record_is_no_more_in_memory_than_its_ids(tmp_path):
    row = {"prompt": "A red cube. " * 90, "namespace": None}
    rows = [{**row, "generation": f"{number:036}"} for number in range(5_000)]
    written(tmp_path, {**HEADER, "rows": 5_000}, *rows)
    del rows

    tracemalloc.start()
    try:
        found = read(tmp_path, 5_000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(found[None]) == 5_000
    assert (tmp_path / NAME).stat().st_size > 5_000_000
    assert most < 1_000_000


def test_line_without_end_fills_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_record, "MAX_BYTES", 1_000)
    written(tmp_path, HEADER, '{"generation": "a", "prompt": "' + "x" * 1_000 + '"}\n')

    with pytest.raises(OxenRecordError, match="line 2 is not JSON"):
        read(tmp_path)
