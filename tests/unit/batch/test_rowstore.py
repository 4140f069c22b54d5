"""Rows keep their order, their names and all that is known of them, also through a record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.batch.rows import CheckedRow, RawRow, check
from airflow_provider_oxen.batch.rowstore import DONE, NEW, OPEN, WAITING, RowStore, Waited, identity_of

ENTRY = {"line": 3, "id": "c", "status": "failed", "error": "It was refused."}
WAITED = Waited("g-1", "acme", 42, 0.01, 1_780_000_000.5)


def row(line: int, prompt: str = "A red cube", **values: Any) -> CheckedRow:
    return check(RawRow(line, {"prompt": prompt, **values}), {"model": "z-image-turbo"})


@pytest.fixture
def rows() -> Iterator[RowStore]:
    with RowStore() as store:
        yield store


def test_rows_without_ids_are_named_by_request_and_occurrence(rows):
    for line, prompt in enumerate(("A red cube", "Würfel!", "A red cube", "🎲"), 1):
        rows.add(row(line, prompt))

    cube, wurfel, again, die = rows.in_state(NEW)

    assert cube.stem == f"a-red-cube-{cube.fingerprint[:16]}"
    assert again.stem == f"{cube.stem}_2"
    assert wurfel.stem.startswith("wurfel-")
    assert die.stem == die.fingerprint[:16]
    assert rows.has(again.stem)
    assert not rows.has("A-RED-CUBE")
    assert len({identity_of(one.stem) for one in (cube, wurfel, again, die)}) == 4


@pytest.mark.parametrize(("folds_case", "refused"), [(False, ["a"]), (True, ["a", "A"])])
def test_two_rows_with_one_file_name_are_refused(folds_case, refused):
    with RowStore(folds_case=folds_case) as rows:
        rows.add(row(1, id="a"))
        for id in refused:
            with pytest.raises(OxenInvalidRequest, match="line 1 has the id 'a' already") as caught:
                rows.add(row(2, id=id))
            assert ("the same file name as 'A'" in caught.value.message) is (id == "A")
        assert rows.total == 1


def test_rows_come_in_the_inputs_order_while_their_state_changes(rows):
    for line in range(1, 1_203):
        rows.add(row(line, id=f"r{line}"))

    seen = []
    for one in chain(rows.in_state(NEW), rows.in_state(OPEN)):
        seen.append(one.n)
        (rows.mark_open if one.state == NEW and one.n % 2 else lambda n: rows.mark_done(n, ENTRY, None))(
            one.n
        )

    assert seen == [*range(1, 1_203), *range(1, 1_203, 2)]
    assert rows.count(DONE) == rows.total == 1_202


def test_what_is_known_of_rows_comes_back_through_a_record(rows):
    for line, id in enumerate("abcd", 1):
        rows.add(row(line, id=id, seed=7, model_params={"guidance": 3.5, "tags": ["x"]}))
    rows.mark_open(1)
    rows.mark_waiting(2, WAITED)
    rows.mark_done(3, ENTRY, "data:image/jpeg;base64,aa")

    with RowStore() as loaded:
        for facts in rows.dump():
            loaded.load(json.loads(json.dumps(facts)))
        again = list(loaded.entries())
        waited, done, total = loaded.count_waited(), loaded.count(DONE), loaded.total

    before = list(rows.entries())
    # What was waited for elsewhere is worked on here again.
    assert [one.state for one, _, _ in before] == [OPEN, WAITING, DONE, NEW]
    assert [one.state for one, _, _ in again] == [OPEN, OPEN, DONE, NEW]
    assert again[1][0].waited == WAITED
    assert [one._replace(state=0) for one, *_ in again] == [one._replace(state=0) for one, *_ in before]
    assert [rest for _, *rest in again] == [rest for _, *rest in before]
    assert (waited, done, total) == (1, 1, 4)
