"""One task instance, one name, whichever try of it."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.jobs.task import Identity

MINE = Identity("dag", "manual__2026-09-01", "hero", -1)


def test_key_stays_the_same_over_processes_and_versions():
    """Files and seeds hang on it: another key, and a retry after an upgrade would not find its image."""
    assert MINE.key == "ae4d78e1a7aecede361d9a58ffa0d833753a732990c37bae6392d8a40522042b"


@pytest.mark.parametrize(
    "other",
    [
        MINE._replace(dag_id="dog"),
        MINE._replace(run_id="manual__2026-09-02"),
        MINE._replace(task_id="villain"),
        MINE._replace(map_index=0),
        Identity("dag", "manual__2026-09-01hero", "", -1),
        Identity("dag", "hero", "manual__2026-09-01", -1),
        Identity('dag", "manual__2026-09-01', "hero", "", -1),
    ],
    ids=repr,
)
def test_key_differs_with_every_part(other):
    assert other.key != MINE.key


@pytest.mark.parametrize("name", ["ünï/cödé", "a\nb", "🟥", "x" * 250])
def test_key_is_fit_for_a_file_name_whatever_the_names_are(name):
    key = Identity(name, name, name, 7).key

    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
