"""What lies in the place of a former row's files is read, or is none of them."""

from __future__ import annotations

from airflow_provider_oxen.batch.intake import FormerRows
from airflow_provider_oxen.batch.rows import CheckedRow
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.request import RequestArguments, fingerprint


def row(prompt: str, former: CheckedRow | None = None) -> CheckedRow:
    request = RequestArguments.read({"prompt": prompt, "model": "z"}).request()
    return CheckedRow(line=1, id="hero", request=request, fingerprint=fingerprint(request), former=former)


def test_folder_in_a_sidecars_place_is_no_former_output(tmp_path):
    (tmp_path / "hero.json").mkdir()
    asked = row("A cube", former=row("A cube of old"))

    assert FormerRows(LocalFolder(str(tmp_path))).choose(asked) is asked
