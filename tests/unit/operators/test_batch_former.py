"""What an earlier version has bought under another fingerprint is not bought again."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_oxen.batch import rows

from .batch_scene import Batch

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

MEANT = [3.7, 0.1, 5.0]
READ = [3.700000047683716, 0.10000000149011612, 5.0]
"""As Python sees the same numbers of 32 bits."""


@pytest.fixture
def batch(cast_batch: Any) -> Batch:
    made: Batch = cast_batch(validate="off", model_params={})
    return made


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the rows read as earlier versions did, for as long as the context is open."""

    def earlier() -> Any:
        patch = monkeypatch.context()
        patch.__enter__().setattr(rows, "_INDEX", re.compile("(?!)"))
        return patch

    return earlier


def asked(ids: bool, numbers: list[float], index: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"A cube, number {place}",
            "strength": number,
            **({"__index_level_0__": place + 10} if index else {}),
            **({"id": f"cube-{place}"} if ids else {}),
        }
        for place, number in enumerate(numbers)
    ]


def stored(tmp_path: Any, found: list[dict[str, Any]]) -> str:
    table = pa.Table.from_pylist(found)
    place = table.schema.get_field_index("strength")
    narrow = table.column("strength").cast(pa.float32())
    parquet.write_table(table.set_column(place, "strength", narrow), tmp_path / "prompts.parquet")
    return str(tmp_path / "prompts.parquet")


with_and_without_ids = pytest.mark.parametrize("ids", [True, False], ids=["ids", "no-ids"])


@with_and_without_ids
def test_images_that_an_earlier_version_kept_are_reused(batch, earlier, tmp_path, ids):
    patch = earlier()
    bought = batch.play(prompts=asked(ids, READ))
    patch.__exit__(None, None, None)
    assert bought.result["generated"] == 3, bought.error

    played = batch.next_run(prompts=stored(tmp_path, asked(ids, MEANT)))

    assert played.state == "success", played.error
    assert (played.result["reused"], played.result["generated"], batch.paid) == (3, 0, 3)


@with_and_without_ids
@pytest.mark.parametrize("mode", ["polled"])
def test_jobs_that_an_earlier_version_submitted_are_gone_on_with(batch, earlier, tmp_path, ids):
    batch.slow()
    patch = earlier()
    assert batch.once(prompts=asked(ids, READ), timeout=0.05).state == "up_for_retry"
    patch.__exit__(None, None, None)
    batch.quick()

    played = batch.play(prompts=stored(tmp_path, asked(ids, MEANT)), timeout=60)

    assert played.state == "success", played.error
    assert (played.result["prompts"], batch.paid) == (3, 3)


@with_and_without_ids
def test_what_nobody_has_bought_is_asked_for_as_it_was_meant(batch, tmp_path, ids):
    played = batch.play(prompts=stored(tmp_path, asked(ids, MEANT)))

    assert played.state == "success", played.error
    assert [entry["request"]["strength"] for entry in batch.hub.ledger()] == unordered(MEANT)
    assert not any("__index_level_0__" in entry["request"] for entry in batch.hub.ledger())


@with_and_without_ids
def test_another_index_makes_no_other_request(batch, tmp_path, ids):
    batch.play(prompts=stored(tmp_path, asked(ids, MEANT)))
    again = asked(ids, MEANT)
    for place, row in enumerate(again):
        row["__index_level_0__"] = 100 - place

    played = batch.next_run(prompts=stored(tmp_path, list(reversed(again))))

    assert played.state == "success", played.error
    assert (played.result["reused"], batch.paid) == (3, 3)


def test_a_former_row_that_cannot_be_read_at_all_is_none(batch, tmp_path):
    place = tmp_path / "out" / "cube-0.json"
    place.parent.mkdir()
    place.write_text("no JSON")

    played = batch.play(prompts=stored(tmp_path, asked(True, [3.7])))

    assert "is not a sidecar of this package" in played.error
    assert batch.paid == 0


class unordered(list[Any]):
    """Equals a list of the same items in any order."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and sorted(self) == sorted(other)

    __hash__ = None
