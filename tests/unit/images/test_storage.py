"""What is written appears whole or not at all, on this machine and in an object store."""

from __future__ import annotations

import errno
import gc
import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.images import objects
from airflow_provider_oxen.images.folder import UnreadableFile
from airflow_provider_oxen.images.storage import LocalFolder, ObjectFolder, open_folder

MARK = "0123456789abcdef.1"
BIG = bytes(range(256)) * 4096 * 20  # 20 MiB: three parts.


def summed(content: bytes) -> str:
    """Return what two contents are compared by: they are too long to be shown."""
    return f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"


def plain(name: str) -> str:
    """Return the name of an unfinished file without the part that nobody can foresee."""
    return re.sub(r"-[0-9a-f]{16}\.part$", ".part", name)


class Breaking(io.BytesIO):
    """A source that fails once it has given so many bytes."""

    def __init__(self, content: bytes, after: int) -> None:
        super().__init__(content)
        self.after = after

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self.after:
            raise OSError("the source broke")
        return super().read(size)


# This machine.


def test_file_is_written_from_its_sources_beginning_and_nothing_else_is(tmp_path):
    source = io.BytesIO(BIG)
    source.seek(1000)

    LocalFolder(str(tmp_path)).put("hero.png", source, MARK)

    assert summed((tmp_path / "hero.png").read_bytes()) == summed(BIG)
    assert os.listdir(tmp_path) == ["hero.png"]


def test_bytes_are_on_the_disk_before_they_get_their_name(tmp_path, monkeypatch):
    done: list[tuple[str, Any]] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        found = os.fstat(handle)
        names = {path.stat().st_ino: (plain(path.name), found.st_size) for path in tmp_path.iterdir()}
        done.append(("sync", names.get(found.st_ino, "folder")))
        sync(handle)

    def replaced(part: Any, path: Any) -> None:
        done.append(
            ("replace", (plain(Path(part).name), Path(path).name, Path(part).parent == Path(path).parent))
        )
        replace(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)

    LocalFolder(str(tmp_path)).put("hero.png", io.BytesIO(b"new"), MARK)

    part = f".hero.png.{MARK}.part"
    assert done == [("sync", (part, 3)), ("replace", (part, "hero.png", True)), ("sync", "folder")]


def test_folder_that_cannot_be_synced_is_no_failed_write(tmp_path, monkeypatch):
    folder = LocalFolder(str(tmp_path))
    sync = os.fsync

    def only_files(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", only_files)

    folder.put("hero.png", io.BytesIO(b"new"), MARK)
    assert folder.read("hero.png") == b"new"


@pytest.mark.parametrize("step", ["source", "sync", "replace"])
def test_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch, step):
    folder = LocalFolder(str(tmp_path))
    folder.put("hero.png", io.BytesIO(b"old"), MARK)
    source: io.BytesIO = Breaking(BIG, 5_000_000) if step == "source" else io.BytesIO(BIG)

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    if step != "source":
        monkeypatch.setattr(os, "fsync" if step == "sync" else "replace", fail)
    with pytest.raises(OSError, match=r"broke|No space left"):
        folder.put("hero.png", source, MARK)

    assert folder.read("hero.png") == b"old"
    assert os.listdir(tmp_path) == ["hero.png"]


CRASH = """
import io, os, sys
from airflow_provider_oxen.images.storage import LocalFolder
os.replace = lambda *names: os._exit(9)
LocalFolder(sys.argv[1]).put("hero.png", io.BytesIO(b"half"), sys.argv[2])
"""


def test_worker_killed_before_the_move_leaves_nothing_visible(tmp_path):
    killed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), MARK], check=False)

    assert killed.returncode == 9
    assert [plain(name) for name in os.listdir(tmp_path)] == [f".hero.png.{MARK}.part"]
    folder = LocalFolder(str(tmp_path))
    assert folder.size("hero.png") is None
    assert folder.read("hero.png") is None

    retry = MARK.replace(".1", ".2")
    folder.put("hero.png", io.BytesIO(b"whole"), retry)
    folder.clean(retry)
    assert os.listdir(tmp_path) == ["hero.png"]


def test_success_removes_this_identitys_leftovers_and_no_others(tmp_path):
    mine = [".hero.png.0123456789abcdef.1.part", ".hero-2.json.0123456789abcdef.12.part"]
    others = [
        ".hero.png.fedcba9876543210.1.part",
        "hero.png",
        ".hidden",
        "x.0123456789abcdef.1.part",
        ".part",
    ]
    for name in mine + others:
        (tmp_path / name).touch()

    LocalFolder(str(tmp_path)).clean("0123456789abcdef.3")

    assert sorted(os.listdir(tmp_path)) == sorted(others)


def test_mark_is_no_pattern(tmp_path):
    (tmp_path / ".hero.png.0123456789abcdef.1.part").touch()

    LocalFolder(str(tmp_path)).clean("*.1")

    assert len(os.listdir(tmp_path)) == 1


def test_leftover_that_another_try_removes_meanwhile_is_no_trouble(tmp_path, monkeypatch):
    (tmp_path / f".hero.png.{MARK}.part").touch()
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **options: (unlink(path), unlink(path)))

    LocalFolder(str(tmp_path)).clean(MARK)


def test_writers_of_one_name_never_show_a_mixture(tmp_path):
    folder = LocalFolder(str(tmp_path))
    contents = [bytes([letter]) * 300_000 for letter in b"abcdef"]
    seen: set[bytes | None] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add(folder.read("hero.png"))

    def write(number: int) -> None:
        for attempt in range(10):
            folder.put("hero.png", io.BytesIO(contents[number]), f"{number:016x}.{attempt}")

    reader = threading.Thread(target=look)
    writers = [threading.Thread(target=write, args=(number,)) for number in range(len(contents))]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()

    assert seen <= {None, *contents}
    assert os.listdir(tmp_path) == ["hero.png"]


# A small file that only one may make.


def test_file_is_created_where_there_is_none_and_leaves_no_trace_of_how(tmp_path):
    folder = LocalFolder(str(tmp_path))

    assert folder.create("job.json", b"first", MARK)
    assert not folder.create("job.json", b"second", MARK)

    assert folder.read("job.json") == b"first"
    assert os.listdir(tmp_path) == ["job.json"]


def test_created_file_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done: list[tuple[str, Any]] = []
    sync, link = os.fsync, os.link

    def synced(handle: int) -> None:
        found = os.fstat(handle)
        names = {path.stat().st_ino: (plain(path.name), found.st_size) for path in tmp_path.iterdir()}
        done.append(("sync", names.get(found.st_ino, "folder")))
        sync(handle)

    def linked(part: Any, path: Any) -> None:
        done.append(("link", (plain(Path(part).name), Path(path).name)))
        link(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)

    LocalFolder(str(tmp_path)).create("job.json", b"new", MARK)

    part = f".job.json.{MARK}.part"
    assert done == [("sync", (part, 3)), ("link", (part, "job.json")), ("sync", "folder")]


def test_one_of_many_who_create_a_file_at_once_has_made_it(tmp_path):
    folder = LocalFolder(str(tmp_path))
    made: list[bytes] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        content = bytes([65 + number]) * 100_000
        start.wait()
        if folder.create("job.json", content, f"{number:016x}.1"):
            made.append(content)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    [content] = made
    assert folder.read("job.json") == content
    assert os.listdir(tmp_path) == ["job.json"]


def test_file_system_without_links_has_its_files_too(tmp_path, monkeypatch):
    def no_links(*names: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    folder = LocalFolder(str(tmp_path))

    assert folder.create("job.json", b"first", MARK)
    assert not folder.create("job.json", b"second", MARK)
    assert folder.read("job.json") == b"first"
    assert os.listdir(tmp_path) == ["job.json"]


def test_file_system_without_links_whose_disk_fails_keeps_no_name_taken(tmp_path, monkeypatch):
    def fail(*names: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "replace", fail)

    with pytest.raises(OSError, match="Input/output error"):
        LocalFolder(str(tmp_path)).create("job.json", b"new", MARK)
    assert os.listdir(tmp_path) == []


def test_creating_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(OSError, match="No space left"):
        LocalFolder(str(tmp_path)).create("job.json", b"new", MARK)
    assert os.listdir(tmp_path) == []


def test_created_file_in_a_folder_that_cannot_be_synced_is_there(tmp_path, monkeypatch):
    sync = os.fsync

    def only_files(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", only_files)

    assert LocalFolder(str(tmp_path)).create("job.json", b"new", MARK)


def test_removed_file_is_gone_and_one_that_was_not_there_is_no_error(tmp_path):
    folder = LocalFolder(str(tmp_path))
    folder.create("job.json", b"new", MARK)

    folder.remove("job.json")
    folder.remove("job.json")

    assert os.listdir(tmp_path) == []


def test_there_is_none_and_it_cannot_be_told_are_two_things(tmp_path):
    folder = LocalFolder(str(tmp_path))
    assert folder.read("hero.json") is None
    assert folder.size("hero.png") is None
    (tmp_path / "hero.png").write_bytes(b"12345")
    assert folder.size("hero.png") == 5
    assert folder.read("hero.png") == b"12345"

    (tmp_path / "hero.json").mkdir()
    with pytest.raises(UnreadableFile):
        folder.read("hero.json")
    inside_a_file = LocalFolder(str(tmp_path / "hero.png"))
    with pytest.raises(NotADirectoryError):
        inside_a_file.read("hero.json")
    with pytest.raises(NotADirectoryError):
        inside_a_file.size("hero.png")


def test_folder_tells_whether_it_ignores_case(tmp_path, monkeypatch):
    place = LocalFolder(str(tmp_path / "images" / "to come"))
    assert place.folds_case() is False

    # As exFAT in user space does it: each case opens the one file that is listed.
    opened = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened(os.fspath(path).lower(), *rest))
    monkeypatch.setattr(os, "unlink", lambda path, unlink=os.unlink: unlink(os.fspath(path).lower()))
    assert place.folds_case() is True
    assert os.listdir(place.path) == []


def test_folder_that_cannot_be_made_tells_nothing(tmp_path):
    (tmp_path / "file").touch()

    assert LocalFolder(str(tmp_path / "file" / "out")).folds_case() is False


def test_check_makes_the_folder(tmp_path):
    LocalFolder(str(tmp_path / "a/b")).check()
    LocalFolder(str(tmp_path / "a/b")).check()

    assert os.listdir(tmp_path / "a") == ["b"]
    assert os.listdir(tmp_path / "a/b") == []


def test_check_refuses_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "out").touch()

    with pytest.raises(FileExistsError):
        LocalFolder(str(tmp_path / "out")).check()


def test_check_refuses_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch):
    # Not with real permissions: whoever runs the tests may be root, who has them all.
    asked: list[Any] = []

    def access(*question: Any) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr(os, "access", access)

    with pytest.raises(PermissionError, match="no permission to write in"):
        LocalFolder(str(tmp_path)).check()
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]


def test_local_addresses(tmp_path):
    folder = LocalFolder("/data/a b/100%")

    assert folder.uri("hero.png") == "/data/a b/100%/hero.png"
    assert folder.asset_uri("hero.png") == "file:///data/a%20b/100%25/hero.png"


# An object store.


class Store(AbstractFileSystem):
    """An object store in memory, with fsspec's listing cache and buffered files; it remembers what it did.

    :ivar done: every call that changes or asks the store, in order.
    :ivar told: what else each object was written with.
    """

    protocol = "store"
    cachable = False

    def __init__(self) -> None:
        super().__init__(use_listings_cache=True)
        self.objects: dict[str, bytes] = {}
        self.done: list[str] = []
        self.broken: set[str] = set()
        self.told: dict[str, dict[str, Any]] = {}

    @property
    def summed(self) -> dict[str, str]:
        return {name: summed(content) for name, content in self.objects.items()}

    def did(self, what: str) -> None:
        self.done.append(what)
        if what in self.broken:
            raise OSError(f"{what} failed")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.did("create" if mode == "create" else "put")
        if mode == "create" and path in self.objects:
            raise FileExistsError(path)
        self.objects[path] = value
        self.told[path] = options

    def rm_file(self, path: str) -> None:
        self.did("delete")
        if path not in self.objects:
            raise FileNotFoundError(path)
        del self.objects[path]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.did("get")
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        if path not in self.dircache:
            self.dircache[path] = [
                {"name": name, "size": len(content), "type": "file"}
                for name, content in self.objects.items()
                if name.startswith(f"{path}/")
            ]
        return self.dircache[path] if detail else [found["name"] for found in self.dircache[path]]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self.did("head")
        if path == "bucket":
            return {"name": path, "size": 0, "type": "directory"}
        for found in self.ls(self._parent(path)):
            if found["name"] == path:
                return found
        raise FileNotFoundError(path)

    def invalidate_cache(self, path: str | None = None) -> None:
        # No parents: not every driver thinks of them.
        self.dircache.pop(path, None)

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any) -> Parts:
        self.told[path] = options
        return Parts(self, path, mode, block_size=block_size)


class Parts(AbstractBufferedFile):
    """A multipart upload, as s3fs makes it: begun with the first part, committed with the last."""

    fs: Store

    def _initiate_upload(self) -> None:
        self.fs.did("begin")
        self.parts: list[bytes] = []

    def _upload_chunk(self, final: bool = False) -> None:
        self.fs.did(f"part {len(self.parts) + 1}")
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.did("complete")
            if "x" in self.mode and self.path in self.fs.objects:
                raise FileExistsError(self.path)
            self.fs.objects[self.path] = b"".join(self.parts)

    def discard(self) -> None:
        self.fs.did("abort")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def folder(store) -> ObjectFolder:
    return ObjectFolder(store, "s3", "bucket/out/", "my_conn")


@pytest.mark.parametrize("size", [0, 5, 8 * 1024 * 1024])
def test_object_gets_one_put(folder, store, size):
    content = BIG[:size]
    source = io.BytesIO(content)
    source.seek(0, io.SEEK_END)

    folder.put("hero.png", source, MARK)

    assert store.summed == {"bucket/out/hero.png": summed(content)}
    assert store.done == ["put", "head"]


def test_big_object_goes_up_in_parts_and_is_committed_once(folder, store):
    folder.put("hero.png", io.BytesIO(BIG), MARK)

    assert store.summed == {"bucket/out/hero.png": summed(BIG)}
    assert store.done == ["begin", "part 1", "part 2", "part 3", "complete", "head"]


@pytest.mark.parametrize("content", [b"small", BIG], ids=["whole", "parts"])
@pytest.mark.parametrize(
    ("protocol", "name", "told"),
    [
        ("s3", "index.html", {"ContentType": "text/html"}),
        ("s3", "hero.png", {"ContentType": "image/png"}),
        ("s3a", "hero.webp", {"ContentType": "image/webp"}),
        ("gs", "hero.jpg", {"content_type": "image/jpeg"}),
        ("s3", "hero", {}),
    ],
)
def test_object_has_the_type_that_a_browser_needs_to_show_it(store, protocol, name, told, content):
    ObjectFolder(store, protocol, "bucket/out", None).put(name, io.BytesIO(content), MARK)

    assert {key: value for key, value in store.told[f"bucket/out/{name}"].items() if "ype" in key} == told


def test_name_of_a_folder_in_a_store_is_one():
    store = MemoryFileSystem()
    store.pipe({"/named/cubes/a.png": b"", "/named/b.png": b""})
    folder = ObjectFolder(store, "memory", "/named", None)

    assert [folder.is_folder(name) for name in ("cubes", "b.png", "none")] == [True, False, False]


def test_names_are_those_of_the_folder_now(folder, store):
    store.objects |= {"bucket/out/a.png": b"", "bucket/other/b.png": b""}
    before = list(folder.names())
    store.objects["bucket/out/.c.json"] = b""

    assert (before, sorted(folder.names())) == (["a.png"], [".c.json", "a.png"])


def test_folder_in_which_nothing_is_yet_has_no_names(folder, store, monkeypatch):
    def nothing(path: str, **options: Any) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(store, "ls", nothing)

    assert list(folder.names()) == []


@pytest.mark.parametrize("step", ["begin", "part 1", "part 2", "part 3", "complete"])
@pytest.mark.usefixtures("own_garbage")
def test_upload_that_breaks_off_is_aborted_and_commits_nothing(folder, store, step):
    store.broken = {step}

    with pytest.raises(OSError, match=f"{step} failed"):
        folder.put("hero.png", io.BytesIO(BIG), MARK)
    gc.collect()

    assert store.summed == {}
    assert store.done[-1] == "abort"
    assert store.done.count("complete") == (step == "complete")


@pytest.mark.usefixtures("own_garbage")
def test_source_that_breaks_in_the_middle_commits_nothing(folder, store):
    with pytest.raises(OSError, match="the source broke"):
        folder.put("hero.png", Breaking(BIG, 9_000_000), MARK)
    gc.collect()

    assert store.summed == {}
    assert store.done == ["begin", "part 1", "part 2", "abort"]


def test_error_of_the_write_is_told_even_if_the_abort_fails_too(folder, store):
    store.broken = {"part 2", "abort"}

    with pytest.raises(OSError, match="part 2 failed"):
        folder.put("hero.png", io.BytesIO(BIG), MARK)


@pytest.mark.parametrize("size", [5, len(BIG)])
def test_object_of_another_size_than_was_written_is_an_error(folder, store, size, monkeypatch):
    info = store.info
    monkeypatch.setattr(store, "info", lambda path: {**info(path), "size": 3})

    with pytest.raises(OSError, match=rf"^s3://bucket/out/hero.png holds 3 bytes after {size} were"):
        folder.put("hero.png", io.BytesIO(BIG[:size]), MARK)


def test_what_another_worker_wrote_is_seen_whatever_was_listed_before(folder, store):
    assert store.ls("bucket/out") == []
    store.objects["bucket/out/hero.png"] = b"12345"
    assert store.ls("bucket/out") == []

    assert folder.size("hero.png") == 5


def test_no_object_and_no_answer_are_two_things(folder, store):
    assert folder.read("hero.json") is None
    assert folder.size("hero.json") is None
    store.objects["bucket/out/hero.json"] = b"{}"
    assert folder.read("hero.json") == b"{}"
    assert folder.size("hero.json") == 2

    store.broken = {"get", "head"}
    with pytest.raises(OSError, match="get failed"):
        folder.read("hero.json")
    with pytest.raises(OSError, match="head failed"):
        folder.size("hero.json")


def test_store_is_asked_for_the_bucket_only(folder, store):
    folder.check()

    assert store.done == ["head"]


@pytest.mark.parametrize("protocol", ["s3", "s3a", "s3n"])
def test_only_s3_says_for_sure_that_there_is_no_bucket(store, protocol):
    with pytest.raises(FileNotFoundError, match="there is no bucket 'other'"):
        ObjectFolder(store, protocol, "other/out", None).check()


@pytest.mark.parametrize("protocol", ["gs", "abfs", "memory"])
def test_bucket_that_another_store_does_not_describe_may_be_there(store, protocol):
    ObjectFolder(store, protocol, "other/out", None).check()


def test_key_that_may_not_look_at_the_bucket_may_still_write(folder, store, monkeypatch):
    def forbidden(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(store, "info", forbidden)

    assert folder.check() is None


def test_store_that_does_not_answer_is_no_missing_bucket(folder, store):
    store.broken = {"head"}

    with pytest.raises(OSError, match="head failed"):
        folder.check()


@pytest.mark.parametrize("size", [5, len(BIG)], ids=["whole", "parts"])
def test_object_is_created_where_there_is_none(folder, store, size):
    first, second = BIG[:size], bytes(size)

    assert folder.create("hero.png", io.BytesIO(first), MARK)
    assert not folder.create("hero.png", io.BytesIO(second), MARK)

    assert store.summed == {"bucket/out/hero.png": summed(first)}
    assert "put" not in store.done


def test_object_that_a_repeated_put_has_made_is_ones_own(folder, store):
    store.objects["bucket/out/job.json"] = b"first"

    assert folder.create("job.json", b"first", MARK)
    assert not folder.create("job.json", b"other", MARK)
    assert store.objects == {"bucket/out/job.json": b"first"}


def test_object_that_is_gone_when_it_is_read_back_is_not_ones_own(folder, store, monkeypatch):
    monkeypatch.setattr(folder, "_make", lambda *arguments: False)
    monkeypatch.setattr(folder, "size", lambda name: 5)

    assert not folder.create("job.json", b"first", MARK)


@pytest.mark.parametrize(("size", "broken"), [(5, "create"), (len(BIG), "begin"), (len(BIG), "complete")])
def test_object_that_cannot_be_created_is_an_error_and_no_reason_for_a_plain_put(folder, store, size, broken):
    store.broken = {broken}

    with pytest.raises(OSError, match="failed"):
        folder.create("job.json", BIG[:size], MARK)
    assert store.objects == {}
    assert "put" not in store.done


def test_removed_object_is_gone_and_one_that_was_not_there_is_no_error(folder, store):
    folder.create("job.json", b"first", MARK)

    folder.remove("job.json")
    folder.remove("job.json")

    assert store.objects == {}


def test_object_that_cannot_be_removed_is_an_error(folder, store):
    store.broken = {"delete"}

    with pytest.raises(OSError, match="delete failed"):
        folder.remove("job.json")


def test_nothing_is_to_be_cleaned_in_an_object_store(folder, store):
    folder.clean(MARK)

    assert store.done == []


def test_stores_tell_names_apart_by_case(folder):
    assert folder.folds_case() is False


def test_addresses_in_a_store(folder, store):
    assert folder.uri("hero.png") == "s3://my_conn@bucket/out/hero.png"
    assert folder.asset_uri("hero.png") == "s3://bucket/out/hero.png"
    assert ObjectFolder(store, "gs", "bucket", None).uri("hero.png") == "gs://bucket/hero.png"


# Which of the two a path names.


def test_absolute_path_is_a_folder_of_this_machine(tmp_path):
    folder = open_folder(str(tmp_path), "ignored")

    assert isinstance(folder, LocalFolder)
    assert folder.path == tmp_path
    assert open_folder("/", None).uri("hero.png") == "/hero.png"


class Opened:
    """Stands for ``ObjectStoragePath``: what it is called with, and what it answers."""

    def __init__(self, url: str, **options: Any) -> None:
        self.protocol, _, rest = url.partition("://")
        self.path = rest.rpartition("@")[2]
        self.options = options

    @property
    def fs(self) -> Any:
        return self


@pytest.mark.parametrize(
    ("url", "conn_id", "options", "uri"),
    [
        ("s3://bucket/out", None, {}, "s3://bucket/out/hero.png"),
        ("s3://bucket/out", "my_conn", {"conn_id": "my_conn"}, "s3://my_conn@bucket/out/hero.png"),
        ("s3://my_conn@bucket/out", None, {}, "s3://my_conn@bucket/out/hero.png"),
        ("s3://other@bucket/out", "my_conn", {"conn_id": "my_conn"}, "s3://my_conn@bucket/out/hero.png"),
    ],
)
def test_url_is_opened_with_the_connection_that_its_address_keeps(monkeypatch, url, conn_id, options, uri):
    monkeypatch.setenv("AIRFLOW_CONN_MY_CONN", "aws://")
    monkeypatch.setattr("airflow.providers.common.compat.sdk.ObjectStoragePath", Opened, raising=False)

    folder = open_folder(url, conn_id)

    assert isinstance(folder, ObjectFolder)
    assert folder.fs.options == options
    assert folder.uri("hero.png") == uri
    assert folder.asset_uri("hero.png") == "s3://bucket/out/hero.png"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (
            "gs://bucket/out",
            "pip install 'apache-airflow-providers-google' 'gcsfs>=2024.12'.",
        ),
        (
            "abfs://container/out",
            "pip install 'apache-airflow-providers-microsoft-azure' 'adlfs>=2026.2'.",
        ),
        (
            "zzz://bucket/out",
            "Give an absolute path, or a URL of s3://, gs:// or abfs://. Another scheme needs an Airflow "
            "provider that registers it.",
        ),
    ],
)
def test_store_without_a_driver_names_what_to_install(url, advice):
    with pytest.raises(OxenInvalidRequest) as caught:
        open_folder(url, None)

    assert caught.value.message.startswith(f"storage_path {url!r} cannot be opened: ")
    assert caught.value.message.endswith(advice)


def test_driver_that_is_not_installed_names_the_extra(monkeypatch):
    class Missing(Opened):
        @property
        def fs(self) -> Any:
            raise ImportError("No module named 's3fs'")

    monkeypatch.setattr("airflow.providers.common.compat.sdk.ObjectStoragePath", Missing, raising=False)

    with pytest.raises(OxenInvalidRequest, match=r"s3fs>=2025\.10"):
        open_folder("s3://bucket/out", None)


def test_connection_that_is_not_defined_is_refused(monkeypatch):
    class Undefined(Opened):
        @property
        def fs(self) -> Any:
            raise AirflowNotFoundException("The conn_id `nowhere` isn't defined")

    monkeypatch.setattr("airflow.providers.common.compat.sdk.ObjectStoragePath", Undefined, raising=False)

    with pytest.raises(OxenInvalidRequest) as caught:
        open_folder("gs://bucket/out", "nowhere")
    assert caught.value.message == (
        "storage_path 'gs://bucket/out' cannot be opened: The Airflow connection 'nowhere' is not defined: "
        "create it, or set storage_conn_id to another one."
    )
    with pytest.raises(OxenInvalidRequest, match="cannot be opened: The conn_id `nowhere` isn't defined"):
        open_folder("gs://bucket/out", None)

    monkeypatch.setattr("airflow_provider_oxen.connections._has_backend", lambda: True)
    with pytest.raises(OxenStoreUnavailable, match="Or the secrets backend did not answer"):
        open_folder("gs://nowhere@bucket/out", None)


@pytest.mark.parametrize(
    ("url", "conn_id"), [("s3://bucket/out", "nowhere"), ("s3a://nowhere@bucket/out", None)]
)
def test_connection_that_amazons_provider_would_do_without_is_refused(monkeypatch, url, conn_id):
    monkeypatch.setattr("airflow.providers.common.compat.sdk.ObjectStoragePath", Opened, raising=False)

    with pytest.raises(
        OxenInvalidRequest, match="The Airflow connection 'nowhere' is not defined: create it"
    ):
        open_folder(url, conn_id)
    assert open_folder("s3://bucket/out", "aws_default").uri("a") == "s3://aws_default@bucket/out/a"


def test_parts_are_as_large_as_s3_asks():
    assert objects._BLOCK >= 5 * 1024 * 1024


def test_unfinished_file_has_a_name_that_nobody_can_foresee_and_is_made_anew(tmp_path, monkeypatch):
    made: list[tuple[str, int]] = []
    opened = os.open

    def watched(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_CREAT:
            made.append((Path(path).name, flags))
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", watched)
    folder = LocalFolder(str(tmp_path))
    for _ in range(2):
        folder.put("x" * 100 + "é.png", io.BytesIO(b"1"), MARK)
    folder.create("new.png", b"1", MARK)
    folder.folds_case()

    assert len({name for name, _ in made}) == len(made) == 5
    for name, flags in made:
        assert re.search(r"[0-9a-f]{16}(\.part|-aA|-Aa)$", name)
        assert flags & os.O_EXCL
        assert flags & os.O_NOFOLLOW


def test_longest_name_leaves_room_for_the_unfinished_one(tmp_path):
    name = "🎲" * 60 + ".png"

    LocalFolder(str(tmp_path)).put(name, io.BytesIO(b"1"), MARK)

    assert os.listdir(tmp_path) == [name]


def test_file_that_may_not_be_read_is_odd(tmp_path, monkeypatch):
    def refused(path: Any, flags: int, *more: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UnreadableFile, match="Permission denied"):
        LocalFolder(str(tmp_path)).read("hero.json")
