"""One image to one path: proved, whole, and over nothing that is there."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_oxen.api import retries
from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenExpiredURL,
    OxenInvalidRequest,
    OxenStorageError,
)
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import download, fetch
from airflow_provider_oxen.images.storage import LocalFolder

from .conftest import LINK, Web, found, picture, refused

PNG = picture()
TEXT = base64.b64encode(PNG).decode()


def to_path(web: Web, path: Any, image: Any = None, overwrite: bool = False) -> dict[str, Any]:
    image = {"b64_json": TEXT} if image is None else image
    client = web.client(max_retries=0)
    return download.to_path(client, image, path, overwrite=overwrite)


@pytest.mark.parametrize(
    "image", [ImageItem(url=LINK), {"url": LINK}, {"b64_json": TEXT}, ImageItem(b64_json=TEXT)]
)
def test_image_is_written_and_described(web, tmp_path, image):
    web.put(LINK, found(PNG))
    path = tmp_path / "new" / "cube.png"

    assert to_path(web, path, image) == {
        "path": str(path),
        "media_type": "image/png",
        "width": 16,
        "height": 12,
        "bytes": len(PNG),
        "sha256": hashlib.sha256(PNG).hexdigest(),
    }
    assert path.read_bytes() == PNG
    assert os.listdir(path.parent) == ["cube.png"]


def test_suffix_is_kept_as_it_is(web, tmp_path):
    assert to_path(web, tmp_path / "cube.jpg")["media_type"] == "image/png"
    assert os.listdir(tmp_path) == ["cube.jpg"]


@pytest.mark.parametrize("path", ["cube.png", "./cube.png", "new/../cube.png", "a:b.png", ".cube"])
def test_relative_path_starts_here(web, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)

    written = to_path(web, path)["path"]

    assert Path(written).is_absolute()
    assert Path(written).parent == tmp_path
    assert Path(written).read_bytes() == PNG


def test_url_of_a_local_file_is_that_file(web, tmp_path):
    assert to_path(web, f"file://{tmp_path}/cube.png")["path"] == str(tmp_path / "cube.png")


@pytest.mark.parametrize(
    "path", ["new/", "s3://bucket/", "s3://bucket", "s3:///cube.png", "s3://b/../cube.png", "a\nb"]
)
def test_path_that_names_no_file_is_refused_before_anything_is_asked(web, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    web.put(LINK, found(PNG))

    with pytest.raises(OxenInvalidRequest, match=r"path '.*'"):
        to_path(web, path, {"url": LINK})
    assert web.asked == []
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["", "."])
def test_folder_is_never_covered(web, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(OxenStorageError, match="is there already"):
        to_path(web, path)
    with pytest.raises(OxenStorageError, match="image not written"):
        to_path(web, path, overwrite=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("image", [{}, {"url": ""}, {"url": None, "b64_json": ""}, ImageItem()])
def test_image_without_link_and_bytes_is_refused(web, tmp_path, image):
    with pytest.raises(OxenInvalidRequest, match="neither url nor b64_json"):
        to_path(web, tmp_path / "cube.png", image)


def test_image_of_another_shape_is_refused(web, tmp_path):
    with pytest.raises(OxenInvalidRequest, match="must be one item of an answer's images") as raised:
        to_path(web, tmp_path / "cube.png", [{"url": "https://hub.example/x?sig=secret"}])
    assert "secret" not in repr(raised.value)


def test_file_that_is_there_is_not_covered_and_nothing_is_asked(web, tmp_path):
    (tmp_path / "cube.png").write_bytes(b"old")
    web.put(LINK, found(PNG))

    with pytest.raises(OxenStorageError, match=r"cube\.png is there already; pass overwrite=True"):
        to_path(web, tmp_path / "cube.png", {"url": LINK})
    assert (tmp_path / "cube.png").read_bytes() == b"old"
    assert web.asked == []

    to_path(web, tmp_path / "cube.png", {"url": LINK}, overwrite=True)
    assert (tmp_path / "cube.png").read_bytes() == PNG
    assert os.listdir(tmp_path) == ["cube.png"]


def test_bytes_that_are_no_image_are_kept_aside(web, tmp_path):
    web.put(LINK, found(PNG[:-10]))

    with pytest.raises(OxenBadImage, match=r"kept as file://.*/cube\.png\.rejected"):
        to_path(web, tmp_path / "cube.png", {"url": LINK})
    assert os.listdir(tmp_path) == ["cube.png.rejected"]
    assert (tmp_path / "cube.png.rejected").read_bytes() == PNG[:-10]
    assert len(web.slept) == len(retries.NOT_YET)


@pytest.mark.parametrize("before", [refused(404), refused(403), found(b""), found(PNG[:-10]), refused(202)])
def test_image_that_is_not_there_yet_is_waited_for(web, tmp_path, before):
    web.put(LINK, before, before, before, found(PNG))

    assert to_path(web, tmp_path / "cube.png", {"url": LINK})["bytes"] == len(PNG)
    assert os.listdir(tmp_path) == ["cube.png"]
    assert web.slept


def test_image_whose_checksum_never_fits_is_kept_in_the_end(web, tmp_path):
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    web.put(LINK, found(PNG, content_md5=wrong))

    assert to_path(web, tmp_path / "cube.png", {"url": LINK})["bytes"] == len(PNG)
    assert len(web.slept) == len(retries.NOT_YET)


def test_text_that_is_no_image_is_kept_aside_at_once(web, tmp_path):
    with pytest.raises(OxenBadImage, match="kept as"):
        to_path(web, tmp_path / "cube.png", {"b64_json": base64.b64encode(b"no image").decode()})
    assert os.listdir(tmp_path) == ["cube.png.rejected"]
    assert web.slept == []


def test_bytes_that_are_no_image_never_cover_earlier_ones(web, tmp_path):
    for content in (PNG[:-10], PNG[:-20]):
        web.put(LINK, found(content))
        with pytest.raises(OxenBadImage):
            to_path(web, tmp_path / "cube.png", {"url": LINK})

    assert {path.read_bytes() for path in tmp_path.iterdir()} == {PNG[:-10], PNG[:-20]}


def test_image_goes_beside_a_file_that_came_while_it_was_fetched(web, tmp_path, caplog):
    def slow(request: Any) -> Any:
        (tmp_path / "cube.png").write_bytes(b"another's")
        return found(PNG)(request)

    web.put(LINK, slow)

    told = to_path(web, tmp_path / "cube.png", {"url": LINK})

    assert told["path"] == str(tmp_path / f"cube-{told['sha256'][:16]}.png")
    assert Path(told["path"]).read_bytes() == PNG
    assert (tmp_path / "cube.png").read_bytes() == b"another's"
    assert "cube.png is taken; the image goes to" in caplog.text


def test_image_above_the_cap_is_not_fetched(web, tmp_path):
    web.put(LINK, found(PNG))

    with pytest.raises(OxenDownloadError, match="larger than max_bytes"):
        download.to_path(web.client(), {"url": LINK}, tmp_path / "cube.png", overwrite=False, max_bytes=10)
    assert os.listdir(tmp_path) == []


def test_link_that_no_longer_works_is_an_error(web, tmp_path):
    web.put(LINK, refused(410))

    with pytest.raises(OxenExpiredURL):
        to_path(web, tmp_path / "cube.png", {"url": LINK})


def test_folder_that_cannot_be_written_to_is_an_error_of_the_store(web, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OxenStorageError, match=r"file/cube\.png: .*File exists"):
        to_path(web, tmp_path / "file" / "cube.png", overwrite=True)


def test_failed_write_leaves_nothing_and_the_bytes_are_let_go(web, tmp_path, monkeypatch):
    opened: list[Any] = []
    make = fetch.from_url

    def from_url(*arguments: Any) -> Any:
        opened.append(make(*arguments))
        return opened[-1]

    monkeypatch.setattr(fetch, "from_url", from_url)
    web.put(LINK, found(PNG))

    def full(*names: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OxenStorageError, match="No space left"):
        to_path(web, tmp_path / "cube.png", {"url": LINK})

    assert os.listdir(tmp_path) == []
    assert [got.file.closed for got in opened] == [True]


def test_writers_of_one_path_in_one_process_do_not_mix(web, tmp_path, monkeypatch):
    """All have their part file open at the same time; each is whole, and one of them wins."""
    contents = [picture("PNG", (size, size)) for size in (8, 16, 24, 32)]
    together = threading.Barrier(len(contents), timeout=60)
    sync = os.fsync

    def meet(handle: int) -> None:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            together.wait()
        sync(handle)

    monkeypatch.setattr(os, "fsync", meet)
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            to_path(
                web, tmp_path / "cube.png", {"b64_json": base64.b64encode(content).decode()}, overwrite=True
            )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert (tmp_path / "cube.png").read_bytes() in contents
    assert os.listdir(tmp_path) == ["cube.png"]


def test_folder_is_checked_as_late_as_it_is_needed(web, tmp_path, monkeypatch):
    """A wrong link must not leave an empty folder behind."""
    checked: list[Path] = []
    monkeypatch.setattr(LocalFolder, "check", lambda self: checked.append(self.path))
    web.put(LINK, refused(404))

    with pytest.raises(OxenExpiredURL):
        to_path(web, tmp_path / "new/cube.png", {"url": LINK})
    assert checked == []


def test_nothing_is_ever_covered_and_nothing_lost_where_names_are_taken(web, tmp_path, monkeypatch):
    other = f"cube-{hashlib.sha256(PNG).hexdigest()[:16]}"
    theirs = [tmp_path / "cube.png", tmp_path / f"{other}.png", tmp_path / f"{other}-2.png"]
    monkeypatch.setattr(LocalFolder, "size", lambda self, name: None)
    for path in theirs:
        path.write_bytes(b"theirs")

    written = to_path(web, tmp_path / "cube.png")

    assert written["path"] == str(tmp_path / f"{other}-3.png")
    assert Path(written["path"]).read_bytes() == PNG
    assert [path.read_bytes() for path in theirs] == [b"theirs"] * 3


def test_image_that_finds_no_name_is_not_told_as_written(web, tmp_path, monkeypatch):
    monkeypatch.setattr(LocalFolder, "create", lambda *arguments: False)

    with pytest.raises(OxenStorageError, match=r"image not written\..* and 9 names like it are taken\."):
        to_path(web, tmp_path / "cube.png")


def test_store_that_cannot_tell_what_is_there_is_an_error_of_the_store(web, tmp_path):
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(OxenStorageError, match="could not be read: NotADirectoryError"):
        to_path(web, tmp_path / "file" / "cube.png")


@pytest.mark.parametrize("overwrite", [False, True])
def test_rejected_bytes_cover_nothing_either(web, tmp_path, overwrite):
    web.put(LINK, found(b"no image at all"))
    (tmp_path / "cube.png.rejected").write_bytes(b"theirs")

    with pytest.raises(OxenBadImage) as caught:
        to_path(web, tmp_path / "cube.png", {"url": LINK}, overwrite=overwrite)

    assert (tmp_path / "cube.png.rejected").read_bytes() == b"theirs"
    [kept] = set(tmp_path.iterdir()) - {tmp_path / "cube.png.rejected"}
    assert kept.read_bytes() == b"no image at all"
    assert kept.name in str(caught.value)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_path_may_be_an_object_of_airflows(web, tmp_path, scheme):
    written = to_path(web, ObjectStoragePath(f"{scheme}{tmp_path}/cube.png"))

    assert written["path"] == str(tmp_path / "cube.png")
    assert (tmp_path / "cube.png").read_bytes() == PNG


def test_path_that_is_none_is_refused(web):
    with pytest.raises(OxenInvalidRequest, match="must be a text or a path object, not NoneType"):
        to_path(web, None)
