"""The whole input is read and checked; what lies in the place of a former row's files is read, or is not."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.batch.intake import FormerRows, read_rows
from airflow_provider_oxen.batch.rows import CheckedRow
from airflow_provider_oxen.batch.rowstore import RowStore
from airflow_provider_oxen.batch.source import open_source
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.request import RequestArguments, fingerprint


def row(prompt: str, former: CheckedRow | None = None) -> CheckedRow:
    request = RequestArguments.read({"prompt": prompt, "model": "z"}).request()
    return CheckedRow(line=1, id="hero", request=request, fingerprint=fingerprint(request), former=former)


def test_folder_in_a_sidecars_place_is_no_former_output(tmp_path):
    (tmp_path / "hero.json").mkdir()
    asked = row("A cube", former=row("A cube of old"))

    assert FormerRows(LocalFolder(str(tmp_path))).choose(asked) is asked


@pytest.mark.parametrize("name", [None, "prompts.txt", "prompts.csv"])
def test_source_without_a_prompt_is_refused(tmp_path, name):
    path = tmp_path / str(name)
    path.touch()
    source = open_source([] if name is None else str(path), None)

    with RowStore() as rows, pytest.raises(OxenInvalidRequest) as caught:
        read_rows(source, {}, rows, LocalFolder(str(tmp_path)), None)

    assert caught.value.message == f"prompts: {'the list' if name is None else path} holds no prompt."
