"""Which files the Images view may open: those that the deployment names, whatever a task has pushed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from airflow_provider_oxen.plugins import originals
from airflow_provider_oxen.plugins.originals import Prefix, find, prefixes, read_original


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "shown" / "deep").mkdir(parents=True)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    for name in ("shown/a.png", "shown/deep/b.png", "hidden.png"):
        (tmp_path / name).write_bytes(picture.getvalue())
    (tmp_path / "shown" / "page.png").write_text("<script>alert(1)</script>")
    (tmp_path / "shown" / "link.png").symlink_to(tmp_path / "hidden.png")
    (tmp_path / "shown" / "way").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "shown" / "pipe.png")
    return tmp_path


def opened(folder: Path, name: str) -> tuple[str, int]:
    prefix = Prefix(f"{folder}/shown/")
    path = f"{folder}/shown/{name}"
    assert find(path, [prefix]) == prefix
    file, kind, size = read_original(path, prefix)
    with file:
        assert len(file.read()) == size
    return kind, size


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        (None, []),
        ("", []),
        ("/, //, s3://, ://x/, relative/, s3:///", []),
        ("/data/images/", [Prefix("/data/images/")]),
        ("/data/images", []),
        (
            "s3://my_conn@bucket/a/, gs://other/",
            [Prefix("s3://bucket/a/", "my_conn"), Prefix("gs://other/")],
        ),
    ],
)
def test_only_named_prefixes_are_allowed(monkeypatch, setting, allowed):
    if setting is not None:
        monkeypatch.setenv("AIRFLOW__OXEN__VIEW_ORIGINALS", setting)

    assert prefixes() == allowed


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("/data/images/a.png", True),
        ("/data/images/deep/a.png", True),
        ("/data/images2/a.png", False),
        ("/data/images/../secret.png", False),
        ("/data/images//etc/secret.png", False),
        ("/data/images/./a.png", False),
        ("/data/images/", False),
        ("/data/images/a\0.png", False),
        ("s3://bucket/a/b.png", True),
        ("s3://bucket/ab.png", False),
        ("s3://other@bucket/a/b.png", False),
        ("file:///data/images/a.png", False),
    ],
)
def test_a_path_must_be_below_one_of_them(path, fits):
    allowed = [Prefix("/data/images/"), Prefix("s3://bucket/a/")]

    assert (find(path, allowed) is not None) == fits


@pytest.mark.parametrize("name", ["a.png", "deep/b.png"])
def test_an_image_is_opened(folder, name):
    assert opened(folder, name)[0] == "image/png"


@pytest.mark.parametrize(
    "name",
    [
        "link.png", "way/hidden.png", "pipe.png", "deep", "page.png", "gone.png",
        # Nobody decodes a path; a folder may have such a name.
        "%2e%2e/hidden.png", "deep%2fb.png", "a.png?x", "~/a.png",
    ],
)  # fmt: skip
def test_no_link_is_followed_and_nothing_but_an_image_is_opened(folder, name):
    with pytest.raises(OSError):  # noqa: PT011 - of which kind is nobody's business
        opened(folder, name)


def test_what_is_no_regular_file_is_not_even_read(folder):
    with pytest.raises(OSError, match="no regular file"):
        opened(folder, "pipe.png")


def test_a_file_that_is_too_large_is_not_read_to_its_end(folder, monkeypatch):
    monkeypatch.setattr(originals, "LARGEST", 10)

    with pytest.raises(OSError, match="more than 10 bytes"):
        opened(folder, "a.png")


def test_what_nobody_waits_for_any_more_is_not_read_to_its_end(folder):
    with pytest.raises(OSError, match="nobody waits"):
        read_original(f"{folder}/shown/a.png", Prefix(f"{folder}/shown/"), lambda: True)


def test_an_object_is_opened_with_the_connection_of_the_prefix(folder, monkeypatch):
    asked: list[object] = []

    class Folder:
        def open(self, name: str) -> io.BytesIO:
            asked.append(name)
            return io.BytesIO((folder / "hidden.png").read_bytes())

    def open_folder(*given: object) -> Folder:
        asked.append(given)
        return Folder()

    monkeypatch.setattr(originals, "open_folder", open_folder)
    prefix = Prefix("s3://bucket/a/", "my_conn")
    original = read_original("s3://bucket/a/b/c.png", prefix)
    original.file.close()
    assert original.media_type == "image/png"
    assert asked == [("s3://bucket/a/b/", "my_conn"), "c.png"]
