"""Parquet becomes rows, with pyarrow; without it, the message names the extra."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.batch.parquet import read_parquet
from airflow_provider_oxen.batch.rows import RawRow

KEY = "k3y-of-the-parquet-tests"
register_key(KEY)

LIMITS = {"buffer_size": 1024 * 1024, "pre_buffer": False}


class Batch:
    """A record batch: rows, of which one that is no mapping cannot be had."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def slice(self, start: int, count: int) -> Batch:
        return Batch(self.rows[start : start + count])

    def to_pylist(self) -> list[dict[str, Any]]:
        for row in self.rows:
            if isinstance(row, Exception):
                raise row
        return self.rows


@pytest.fixture
def stand_in(monkeypatch) -> Callable[..., None]:
    """Put a module in pyarrow's place that reads what it is told, in batches as it is asked for."""

    def put(names: list[str], *rows: Any) -> None:
        class ParquetFile:
            def __init__(self, file: Any, **options: Any) -> None:
                assert options == LIMITS
                assert file.read(4) == b"PAR1"
                text = SimpleNamespace(type="string")
                self.schema_arrow = SimpleNamespace(names=names, metadata=None, field=lambda name: text)

            def iter_batches(self, batch_size: int, use_threads: bool) -> Iterator[Batch]:
                assert not use_threads
                for start in range(0, len(rows), batch_size):
                    part = list(rows[start : start + batch_size])
                    if isinstance(part[0], OSError):
                        raise part[0]
                    yield Batch(part)

        module = ModuleType("pyarrow.parquet")
        module.ParquetFile = ParquetFile  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pyarrow", ModuleType("pyarrow"))
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", module)

    return put


def read() -> list[RawRow]:
    return list(read_parquet(io.BytesIO(b"PAR1")))


def test_missing_pyarrow_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)

    with pytest.raises(OxenInvalidRequest, match="pip install 'pyarrow>=16'"):
        read()


def test_rows_are_counted_over_all_batches_and_a_null_sets_nothing(stand_in):
    rows = [{"prompt": f"cube {number}", "seed": number if number % 2 else None} for number in range(200)]
    stand_in(["prompt", "seed"], *rows)

    found = read()

    assert [row.line for row in found] == list(range(1, 201))
    assert found[0] == RawRow(1, {"prompt": "cube 0"})
    assert found[199] == RawRow(200, {"prompt": "cube 199", "seed": 199})


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["Prompt", "id"], "has no column 'prompt', but 'Prompt, id'"),
        (["prompt", "seed", "seed"], "names a column twice: 'seed'"),
        (["prompt", ""], "has a column without a name, at place 2"),
    ],
)
def test_columns_that_will_not_do_are_the_only_problem(stand_in, names, told):
    stand_in(names, {"prompt": "a"}, {"prompt": "b"})

    assert read() == [RawRow(1, {}, told)]


@pytest.mark.parametrize("error", [ValueError("no UTF-8"), OverflowError("no UTF-8")], ids=repr)
def test_row_that_cannot_be_had_is_told_and_the_rest_is_read(stand_in, error):
    stand_in(["prompt", "id"], *[{"prompt": "a"}] * 65, error, {"prompt": "b", "id": None})

    found = read()

    assert found[64:] == [
        RawRow(65, {"prompt": "a"}),
        RawRow(66, {}, "holds what cannot be read: no UTF-8"),
        RawRow(67, {"prompt": "b"}),
    ]


def test_key_is_taken_out_before_the_librarys_words_are_cut(stand_in):
    stand_in(["prompt"], *[{"prompt": "a"}] * 64, OSError(f"{'x' * 285} {KEY}"))

    assert KEY[:8] not in str(read()[-1].problem)


def test_file_that_breaks_off_is_told_with_its_row(stand_in):
    stand_in(["prompt"], *[{"prompt": "a"}] * 64, OSError("Corrupt\n snappy"))

    assert read()[63:] == [
        RawRow(64, {"prompt": "a"}),
        RawRow(65, {}, "is not Parquet that can be read: Corrupt snappy"),
    ]


def test_error_of_the_store_is_none_of_the_file(stand_in):
    class Store(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OxenStoreUnavailable("on fire")

    stand_in(["prompt"])

    with pytest.raises(OxenStoreUnavailable, match="on fire"):
        list(read_parquet(Store()))


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is an extra")
class TestReally:
    """With pyarrow itself, where it is installed."""

    def written(self, **columns: Any) -> io.BytesIO:
        import pyarrow
        from pyarrow import parquet

        file = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), file, row_group_size=1000)
        file.seek(0)
        return file

    def test_values_are_pythons(self):
        file = self.written(
            prompt=["a", "b", None], seed=[1, None, 3], image_size=[{"width": 1, "height": 2}, None, None]
        )

        assert list(read_parquet(file)) == [
            RawRow(1, {"prompt": "a", "seed": 1, "image_size": {"width": 1, "height": 2}}),
            RawRow(2, {"prompt": "b"}),
            RawRow(3, {"seed": 3}),
        ]

    def test_text_that_is_no_utf_8_is_told_with_its_row(self):
        import pyarrow

        texts = pyarrow.array([b"ok", b"\xff", b"fine"], pyarrow.binary()).view(pyarrow.string())

        first, second, third = read_parquet(self.written(prompt=texts))

        assert (first.values, third.values) == ({"prompt": "ok"}, {"prompt": "fine"})
        assert second.line == 2
        assert str(second.problem).startswith("holds what cannot be read: 'utf-8' codec can't decode")

    @pytest.mark.parametrize("content", [b"", b"PAR1", b"prompt\nA red cube\n" * 9])
    def test_what_is_no_parquet_is_told(self, content):
        (row,) = read_parquet(io.BytesIO(content))

        assert str(row.problem).startswith("is not Parquet that can be read: Parquet ")

    def test_pages_that_are_damaged_are_told(self):
        content = bytearray(self.written(prompt=[f"cube {number}" for number in range(5000)]).getvalue())
        middle = len(content) // 2
        content[middle : middle + 500] = bytes(500)

        rows = list(read_parquet(io.BytesIO(content)))

        assert str(rows[-1].problem).startswith("is not Parquet that can be read: ")
        assert 1 < rows[-1].line == len(rows) < 5000


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is an extra")
class TestNumbers:
    """A number is the one that was written, whatever the column's type."""

    def read(self, table: Any) -> list[RawRow]:
        from pyarrow import parquet

        file = io.BytesIO()
        parquet.write_table(table, file)
        return list(read_parquet(io.BytesIO(file.getvalue())))

    @pytest.mark.parametrize("kind", ["float32", "float16"])
    def test_narrow_floats_are_what_was_written_wherever_they_stand(self, kind):
        import pyarrow as pa

        narrow = getattr(pa, kind)()
        columns = {
            "prompt": pa.array(["A cube", "A ball"]),
            "flat": pa.array([3.7, None], pa.float64()).cast(narrow),
            "list": pa.array([[3.7, None], None], pa.list_(pa.float64())).cast(pa.list_(narrow)),
            "struct": pa.array(
                [{"x": 3.7, "n": 1}, None], pa.struct([("x", pa.float32()), ("n", pa.int64())])
            ),
            "plain": pa.array([{"n": 1}, None], pa.struct([("n", pa.int64())])),
            "coded": pa.array(["a", None]).dictionary_encode(),
        }

        first, second = self.read(pa.table(columns))

        assert first.values == {
            "prompt": "A cube",
            "flat": 3.7,
            "list": [3.7, None],
            "struct": {"x": 3.7, "n": 1},
            "plain": {"n": 1},
            "coded": "a",
        }
        assert first.former is not None
        assert first.former["struct"] == {"x": 3.700000047683716, "n": 1}
        assert second == RawRow(2, {"prompt": "A ball"})

    def test_coded_narrow_floats_are_what_was_written(self):
        import pyarrow as pa

        coded = pa.array([3.7, 3.7], pa.float32()).dictionary_encode()

        first, _ = self.read(pa.table({"prompt": ["A cube", "A ball"], "coded": coded}))

        assert first.values["coded"] == 3.7

    def test_the_largest_narrow_floats_are_not_rounded_out_of_range(self):
        import pyarrow as pa

        most = pa.array([3.4028234663852886e38, float("inf")], pa.float32())

        first, second = self.read(pa.table({"prompt": ["A cube", "A ball"], "n": most}))

        assert first.values["n"] == 3.4028235e38
        assert second.values["n"] == float("inf")

    def test_integers_beside_nulls_of_pandas_are_integers_again(self):
        pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
        frame = pd.DataFrame(
            {"prompt": ["a", "b", "c"], "id": [7, None, 8], "steps": [4, None, 5], "scale": [3.5, None, 3.0]}
        )
        frame["sizes"] = [[1.0, 2.0], None, []]

        rows = self.read(pa.Table.from_pandas(frame))

        assert [repr(row.values) for row in rows] == [
            "{'prompt': 'a', 'id': 7, 'steps': 4, 'scale': 3.5, 'sizes': [1, 2]}",
            "{'prompt': 'b'}",
            "{'prompt': 'c', 'id': 8, 'steps': 5, 'scale': 3, 'sizes': []}",
        ]

    def test_floats_of_other_programs_stay_floats(self):
        import pyarrow as pa

        [row] = self.read(pa.table({"prompt": ["a"], "scale": [3.0]}))

        assert repr(row.values["scale"]) == "3.0"

    def test_pandas_index_is_no_parameter_but_for_a_field_of_the_request(self, caplog):
        pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
        frame = pd.DataFrame({"prompt": ["a", "b"], "sku": ["x", "y"]}, index=[5, 3])

        assert [set(row.values) for row in self.read(pa.Table.from_pandas(frame))] == [{"prompt", "sku"}] * 2
        assert caplog.text == ""
        named = frame.set_index("sku")
        assert [set(row.values) for row in self.read(pa.Table.from_pandas(named))] == [{"prompt"}] * 2
        assert "sku is pandas' index, and no parameter; reset_index() would make it one" in caplog.text
        ids = frame.rename(columns={"sku": "id"}).set_index("id")
        assert [row.values["id"] for row in self.read(pa.Table.from_pandas(ids))] == ["x", "y"]

    @pytest.mark.parametrize("pandas", [b"[1]", b"{", b'{"index_columns": 5}', b"\xff"])
    def test_notes_of_pandas_that_are_damaged_are_none(self, pandas):
        import pyarrow as pa

        table = pa.table({"prompt": ["a"], "n": [3.0]}).replace_schema_metadata({b"pandas": pandas})

        assert self.read(table) == [RawRow(1, {"prompt": "a", "n": 3.0})]
