"""A batch's prompts are read from a list or a file, row by row; what cannot be read is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.batch import source
from airflow_provider_oxen.batch.rows import RawRow
from airflow_provider_oxen.batch.source import open_source
from airflow_provider_oxen.images.storage import ObjectFolder

SECRET = "signature-that-must-not-leak"
CUBE = RawRow(1, {"prompt": "A red cube"})


class Lazy(Sequence[Any]):
    """Items that are asked for one by one, as a mapped task's XCom is."""

    def __init__(self, *items: Any) -> None:
        self.items = items
        self.asked: list[int] = []

    def __len__(self) -> int:
        raise AssertionError("counting asks the database")

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return self.items[index]


def named(value: Any) -> str:
    """Name a case alike in every process: not by an address in memory."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text


def rows(prompts: Any, conn_id: str | None = None) -> list[RawRow]:
    return list(open_source(prompts, conn_id).rows())


def refusal(prompts: Any, conn_id: str | None = None) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        rows(prompts, conn_id)
    assert caught.value.spent == "no"
    assert SECRET not in caught.value.message
    assert len(caught.value.message) < 700
    return caught.value.message


class TestLists:
    """Texts and mappings, however they come."""

    @pytest.mark.parametrize("kind", [list, tuple, lambda items: Lazy(*items), json.dumps])
    def test_items_are_prompts_or_mappings_of_fields(self, kind):
        prompts = kind(["A red cube", {"prompt": "b", "id": 7, "seed": None}])

        assert rows(prompts) == [CUBE, RawRow(2, {"prompt": "b", "id": 7, "seed": None})]
        assert open_source(prompts, None).name == "the list"

    def test_lazy_items_are_asked_for_one_by_one(self):
        lazy = Lazy("A red cube", "b")
        read = open_source(lazy, None).rows()

        assert lazy.asked == []
        assert next(read) == CUBE
        assert lazy.asked == [0]

    def test_list_is_read_again_and_again(self):
        opened = open_source(["A red cube"], None)

        assert list(opened.rows()) == list(opened.rows()) == [CUBE]

    @pytest.mark.parametrize(
        ("item", "told"),
        [
            (None, "nothing (null)"),
            (5, "a number"),
            (0.5, "a number"),
            (True, "true or false"),
            (["a"], "a list"),
            (("a",), "a list"),
            (b"a", "of type bytes"),
            ({"a"}, "of type set"),
        ],
        ids=repr,
    )
    def test_item_of_another_kind_is_told_and_the_rest_is_read(self, item, told):
        assert rows(["A red cube", item, "b"]) == [
            CUBE,
            RawRow(2, {}, f"is not a text or a mapping, but {told}"),
            RawRow(3, {"prompt": "b"}),
        ]

    @pytest.mark.parametrize("prompts", [[], (), Lazy(), "[]", " [ ]\n"], ids=named)
    def test_empty_list_has_no_rows(self, prompts):
        assert rows(prompts) == []

    @pytest.mark.parametrize(
        ("rendered", "told"),
        [
            ("['a', 'b']", "is not JSON: Expecting value at character 2"),
            ('["a",', "is not JSON: Expecting value at character 6"),
            ('[{"prompt": "a", "prompt": "b"}]', "names 'prompt' twice in one object"),
            ("[NaN]", "holds NaN, which is not JSON"),
            ("[photo] A red cube", "is not JSON: Expecting value at character 2"),
        ],
    )
    def test_list_that_a_template_rendered_as_python_is_told_how_to_do_better(self, rendered, told):
        assert refusal(f" {rendered}\n") == (
            f"prompts was rendered to {rendered!r}, which {told}: render a list with '| tojson'."
        )


class TestPaths:
    """What names a file, and what does not."""

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.txt", "A red cube"),
            ("a.TXT", "A red cube"),
            ("a.b.jsonl", '"A red cube"'),
            ("ä b%20.NDJSON", '{"prompt": "A red cube"}'),
        ],
    )
    @pytest.mark.parametrize("scheme", ["", "file://"])
    def test_suffix_says_what_a_file_holds(self, tmp_path, scheme, name, content):
        path = tmp_path / name
        path.write_text(content)

        assert rows(f"{scheme}{path}") == rows(f" {scheme}{path}\n") == [CUBE]
        assert open_source(f"{scheme}{path}", None).name == str(path)

    def test_table_is_read(self, tmp_path):
        path = tmp_path / "a.Csv"
        path.write_text("prompt\nA red cube\n")

        assert rows(str(path)) == [RawRow(2, {"prompt": "A red cube"})]

    def test_parquet_is_read(self, tmp_path):
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
        path = tmp_path / "a.Parquet"
        parquet.write_table(pyarrow.table({"prompt": ["A red cube"] * 1000}), path)

        assert rows(str(path)) == [RawRow(number, {"prompt": "A red cube"}) for number in range(1, 1001)]

    def test_file_is_read_again_and_again_and_always_closed(self, tmp_path):
        # A file left open is a warning, and a warning is an error.
        path = tmp_path / "a.txt"
        path.write_text("A red cube\nb")
        opened = open_source(str(path), None)
        unfinished = opened.rows()

        assert list(opened.rows()) == list(opened.rows())
        assert next(unfinished) == CUBE
        assert str(path) in map(os.path.realpath, Path("/proc/self/fd").iterdir())
        del unfinished
        assert str(path) not in map(os.path.realpath, Path("/proc/self/fd").iterdir())

    @pytest.mark.parametrize(
        "prompts",
        [
            "A red cube",
            "a cube in the style of prompts.txt, but red",
            "",
            "None",
            '{"prompt": "A red cube"}',
            "/data/prompts",
            "/data/prompts.jsonl.gz",
            "/data/prompts.xlsx",
            "/data/.jsonl",
            "/data/prompts.txt/",
            "s3://bucket/prompts.json",
            None,
            5,
            {"prompt": "A red cube"},
            {"A red cube"},
            b"A red cube",
            bytearray(b"A red cube"),
            iter(["A red cube"]),
        ],
        ids=named,
    )
    def test_what_is_neither_list_nor_file_is_told_what_is_allowed(self, prompts):
        told = refusal(prompts)

        assert told.startswith(
            "prompts must be a list, of texts or of mappings with 'prompt', or a file's path"
        )
        assert "that ends in .txt, .jsonl, .ndjson, .csv, .parquet; not " in told
        assert told.endswith(". Put a single prompt into a list.")

    @pytest.mark.parametrize(
        "prompts", ["A red cube " * 10_000, "/a" * 3000 + ".txt"], ids=["prompt", "path"]
    )
    def test_long_text_is_not_quoted_whole(self, prompts):
        assert "…. Put a single prompt into a list." in refusal(prompts)

    @pytest.mark.parametrize(
        ("path", "told"),
        [
            ("prompts.txt", "must be an absolute path"),
            ("data/prompts.txt", "must be an absolute path"),
            ("A red cube, as in prompts.txt", "must be an absolute path"),
            ("s3:///prompts.txt", "must be an absolute path"),
            ("/data/../prompts.txt", "must not contain '.' or '..'"),
            ("s3://bucket/a/../prompts.txt", "must not contain '.' or '..'"),
            ("/data/a\nb.txt", "holds a control character"),
            (f"https://bucket.example/{SECRET}?prompts.txt".replace(SECRET, "a"), "must not hold '?' or '#'"),
        ],
    )
    def test_path_that_leads_nowhere_or_elsewhere_is_refused(self, path, told):
        text = refusal(path)

        assert text.startswith("prompts '")
        assert told in text
        assert text.endswith(" Put a single prompt into a list.")

    @pytest.mark.parametrize(
        "path",
        [
            f"https://bucket.example/prompts.jsonl?X-Signature={SECRET}",
            f"https://bucket.example/prompts?X-Signature={SECRET}/prompts.jsonl",
            f"s3://id:{SECRET}@bucket/../prompts.jsonl",
            f"zzz://id:{SECRET}@bucket/prompts.jsonl",
        ],
    )
    def test_signature_and_password_are_never_told(self, path):
        assert refusal(path).startswith("prompts")

    @pytest.mark.parametrize("scheme", ["zzz", "gs"])
    def test_store_without_a_driver_names_what_to_install(self, scheme):
        told = refusal(f"{scheme}://bucket/in/prompts.jsonl")

        assert told.startswith(f"prompts: the folder '{scheme}://bucket/in' cannot be opened: ")
        assert (" Install " in told) == (scheme == "gs")
        assert ("an Airflow provider that registers it" in told) == (scheme == "zzz")

    def test_connection_goes_to_the_store(self, monkeypatch):
        given: list[Any] = []

        def open_folder(*asked: Any, **more: Any) -> Any:
            given.append(asked)
            return _folder({})

        monkeypatch.setattr(source, "open_folder", open_folder)

        open_source("s3://bucket/in/prompts.jsonl", "my_conn")

        assert given == [("s3://bucket/in", "my_conn")]


class TestReading:
    """A file that is not there is no empty one, and neither is one that may not be read."""

    @pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv", ".parquet"])
    def test_missing_file_is_told(self, tmp_path, suffix):
        path = tmp_path / f"prompts{suffix}"

        assert refusal(str(path)) == f"prompts: there is no file {path}."

    def test_file_in_a_folders_place_is_told(self, tmp_path):
        (tmp_path / "in").touch()

        assert "there is no file" in refusal(f"{tmp_path}/in/prompts.txt")

    def test_folder_in_the_files_place_is_told(self, tmp_path):
        path = tmp_path / "prompts.txt"
        path.mkdir()

        assert refusal(str(path)).startswith(f"prompts: {path} cannot be read: [Errno 21] Is a directory: ")

    @pytest.mark.parametrize(
        ("suffix", "content"),
        [
            *((suffix, content) for suffix in (".txt", ".jsonl") for content in ("", "\n \r\n", "\ufeff\n")),
            *((".csv", content) for content in ("", "\n\r\n", "\ufeff", "prompt", "id,prompt\r\n\r\n")),
        ],
    )
    def test_file_without_a_prompt_has_no_rows(self, tmp_path, suffix, content):
        path = tmp_path / f"prompts{suffix}"
        path.write_bytes(content.encode())

        assert rows(str(path)) == []

    def test_problem_is_no_empty_file(self, tmp_path):
        path = tmp_path / "prompts.jsonl"
        path.write_text("[1]")

        assert [row.problem is None for row in rows(str(path))] == [False]


def _folder(objects: dict[str, bytes], store: type[MemoryFileSystem] = MemoryFileSystem) -> ObjectFolder:
    fs = store(skip_instance_cache=True)
    fs.store = {}
    for name, content in objects.items():
        fs.pipe_file(name, content)
    return ObjectFolder(fs, "s3", "/bucket/in", "my_conn")


class Breaking(io.BytesIO):
    """An object of which so many bytes can be had."""

    reachable = 0

    def readinto(self, buffer: Any) -> int:
        if self.tell() + len(buffer) > self.reachable:
            raise RuntimeError(f"https://store.example/prompts?X-Signature={SECRET} is on fire")
        return super().readinto(buffer)


class TestObjects:
    """The same from an object store."""

    def opened(
        self, monkeypatch: pytest.MonkeyPatch, folder: Any, name: str = "prompts.txt"
    ) -> source.Source:
        monkeypatch.setattr(source, "open_folder", lambda path, conn_id, **more: folder)
        return open_source(f"s3://my_conn@bucket/in/{name}", None)

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.txt", "A red cube\nb"), ("a.jsonl", '"A red cube"\n"b"'), ("a.csv", "prompt")],
    )
    def test_object_is_read_as_a_file_is(self, monkeypatch, tmp_path, name, content):
        (tmp_path / name).write_text(content + "\nc" * 1000)
        expected = rows(str(tmp_path / name))
        folder = _folder({f"/bucket/in/{name}": (tmp_path / name).read_bytes()})

        assert list(self.opened(monkeypatch, folder, name).rows()) == expected

    def test_parquet_object_is_read(self, monkeypatch):
        pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is an extra")
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
        file = io.BytesIO()
        parquet.write_table(pyarrow.table({"prompt": ["A red cube"]}), file)
        folder = _folder({"/bucket/in/a.parquet": file.getvalue()})

        assert list(self.opened(monkeypatch, folder, "a.parquet").rows()) == [CUBE]

    def test_object_is_named_without_its_connection(self, monkeypatch):
        assert "conn" not in self.opened(monkeypatch, _folder({})).name
        assert self.opened(monkeypatch, _folder({})).name.endswith("/bucket/in/prompts.txt")

    def test_missing_object_is_told(self, monkeypatch):
        with pytest.raises(OxenInvalidRequest, match=r"prompts: there is no file s3:.*in/prompts\.txt\."):
            list(self.opened(monkeypatch, _folder({})).rows())

    @pytest.mark.parametrize("name", ["prompts.txt", "prompts.jsonl", "prompts.csv", "prompts.parquet"])
    @pytest.mark.parametrize("reachable", [0, 300_000])
    def test_store_that_fails_is_no_bad_input_and_may_be_asked_again(self, monkeypatch, name, reachable):
        class Folder:
            def open(self, name: str) -> io.BytesIO:
                file = Breaking(b"prompt\n" * 100_000)
                file.reachable = reachable
                return file

            def asset_uri(self, name: str) -> str:
                return f"s3://bucket/in/{name}"

        read: list[RawRow] = []
        with pytest.raises(OxenStoreUnavailable) as caught:
            read.extend(self.opened(monkeypatch, Folder(), name).rows())

        assert caught.value.retry_helps
        assert caught.value.message == (
            f"prompts: the store of s3://bucket/in/{name} could not be read: RuntimeError: "
            "https://store.example/prompts is on fire."
        )
        assert [row for row in read if row.problem] == [row for row in read if name.endswith(".jsonl")]

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (PermissionError("Forbidden"), OxenInvalidRequest),
            (TimeoutError("no answer"), OxenStoreUnavailable),
            (OSError("no answer"), OxenStoreUnavailable),
            (RuntimeError("no answer"), OxenStoreUnavailable),
            (OxenInvalidRequest("as it is"), OxenInvalidRequest),
        ],
        ids=repr,
    )
    def test_error_of_opening_tells_whether_another_try_may_help(self, monkeypatch, error, kind):
        class Closed(MemoryFileSystem):
            def open(self, *asked: Any, **options: Any) -> Any:
                raise error

        with pytest.raises(kind, match=str(error)):
            list(self.opened(monkeypatch, _folder({}, Closed)).rows())


class TestSize:
    """However much there is, little of it is in memory."""

    COUNT = 10_000

    def lines(self, suffix: str) -> Iterator[str]:
        if suffix == ".csv":
            yield "id,prompt\n"
        shapes = {".txt": "{1}\n", ".jsonl": '{{"id": "r{0}", "prompt": "{1}"}}\n', ".csv": 'r{0},"{1}"\n'}
        for number in range(self.COUNT):
            yield shapes[suffix].format(number, f"A red cube, number {number}")

    @pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
    def test_rows_of_a_long_file_are_never_in_memory_together(self, tmp_path, suffix):
        path = tmp_path / f"prompts{suffix}"
        with path.open("w") as file:
            file.writelines(self.lines(suffix))
        opened = open_source(str(path), None)

        tracemalloc.start()
        try:
            count = sum(1 for row in opened.rows() if row.problem is None)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert count == self.COUNT
        assert peak < 1_000_000

    @pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
    @pytest.mark.parametrize("character", ["x", '"', "\r", "\0", "\xff"], ids=repr)
    def test_line_without_an_end_is_never_in_memory(self, tmp_path, suffix, character):
        path = tmp_path / f"prompts{suffix}"
        with path.open("wb") as file:
            file.write(b"prompt\n" if suffix != ".jsonl" else b'"a"\n')
            for _ in range(16):
                file.write(character.encode("latin-1") * 1_000_000)
            file.write(b"\n" if suffix != ".jsonl" else b'\n"b"\n')
        opened = open_source(str(path), None)

        tracemalloc.start()
        try:
            told = [row.line for row in opened.rows() if row.problem and "is longer than" in row.problem]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert told == [2]
        assert peak < 10_000_000


def test_import_loads_no_reader_of_parquet():
    code = (
        "import sys; import airflow_provider_oxen.batch.source, airflow_provider_oxen.batch.rows;"
        "print(sorted({'pyarrow', 'pandas', 'fsspec', 'airflow', 'httpx', 'PIL'} & set(sys.modules)))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert shown.strip() == "[]"
