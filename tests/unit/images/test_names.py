"""A path from a template, an identity: whatever is in them, the files stay in their folder."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.images import names


def problem(path: str) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        names.split(path, "stem")
    assert caught.value.message.startswith(f"storage_path {path!r} ")
    return caught.value.message.removeprefix(f"storage_path {path!r} ")


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/data/out/", "/data/out"),
        ("/data/a b/100%/ü/", "/data/a b/100%/ü"),
        ("/", "/"),
        ("/data/out//", "/data/out/"),
        ("file:///data/out/", "/data/out"),
        ("file://my_conn@/data/out/", "/data/out"),
        ("file:/data/out/", "/data/out"),
        ("local:///data/out/", "/data/out"),
        ("file:///", "/"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/hero/2026-01-01/", "s3://bucket/hero/2026-01-01"),
        ("s3://my_conn@bucket/hero/", "s3://my_conn@bucket/hero"),
        ("abfs://container/hero/", "abfs://container/hero"),
    ],
)
def test_path_that_ends_in_a_slash_is_a_folder(path, folder):
    assert names.split(path, "stem") == (folder, "stem")


@pytest.mark.parametrize(
    ("path", "folder", "stem"),
    [
        ("/data/hero.png", "/data", "hero"),
        ("/data/hero", "/data", "hero"),
        ("/hero.png", "/", "hero"),
        ("file:///hero.png", "/", "hero"),
        ("/data/hero.JPG", "/data", "hero"),
        ("/data/hero.jpeg", "/data", "hero"),
        ("/data/hero.v2.webp", "/data", "hero.v2"),
        ("/data/hero.v2", "/data", "hero.v2"),
        ("/data/hero.tiff", "/data", "hero.tiff"),
        ("/data/2026.01.01", "/data", "2026.01.01"),
        ("s3://bucket/hero.avif", "s3://bucket", "hero"),
        ("s3://my_conn@bucket/a/hero.gif", "s3://my_conn@bucket/a", "hero"),
    ],
)
def test_any_other_path_is_the_file_whose_suffix_follows_the_bytes(path, folder, stem):
    assert names.split(path, "ignored") == (folder, stem)


@pytest.mark.parametrize(
    "path",
    [
        "hero.png",
        "out/",
        "./out/",
        "",
        " /data/out/",
        " s3://bucket/out/",
        "//server/out/",
        "//../etc/",
        "file://out/",
        "file:out/",
        # What is left of a path when its first template renders to nothing.
        "s3:///hero/",
        "s3://my_conn@/hero/",
        "s3:/bucket/hero/",
        "s3:",
        "C:/out/",
    ],
)
def test_path_that_means_another_place_on_every_worker_is_refused(path):
    assert problem(path).startswith("must be an absolute path, or a URL")


@pytest.mark.parametrize(
    "path",
    [
        "/data/../etc/",
        "/data/../etc/passwd",
        "/..",
        "/data/..",
        "/data/.",
        "/data/./out/",
        r"/data/..\..\etc/",
        r"/data/..\hero.png",
        "s3://bucket/../other/",
        "s3://bucket/a/..",
        "file:///data/../etc/",
    ],
)
def test_path_that_climbs_is_refused(path):
    assert "must not contain '.' or '..'" in problem(path)


@pytest.mark.parametrize(
    "path",
    [
        "/data/a\nb/",
        "/data/a\0b",
        "/data/\x1b[2J/",
        "s3://bucket/a\tb/",
        "/data/\x7f/",
        "/data/\ud800/",
        "\n/data/",
    ],
)
def test_control_characters_and_halves_of_characters_are_refused(path):
    assert problem(path) == "holds a control character."


@pytest.mark.parametrize(
    "path", ["/data/what?/", "/data/a#b/", "s3://b/k?versionId=1", "s3://b/k#1", "s3://b/k?"]
)
def test_query_and_fragment_are_refused(path):
    assert problem(path) == "must not hold '?' or '#'."


def test_bucket_alone_is_no_file():
    assert problem("s3://bucket") == "names a bucket only: end it with '/' to use it as a folder."


@pytest.mark.parametrize("path", ["s3://[bucket/", "s3://buck]et/hero"])
def test_broken_url_is_refused(path):
    assert problem(path).startswith("is not a URL")


@pytest.mark.parametrize("name", [".png", ".hidden", r"a\b.png", "x" * 181, "ü" * 91])
def test_file_needs_a_name_of_its_own(name):
    assert "must end in a file name of 1 to 180 bytes" in problem(f"/data/{name}")


def test_longest_name_leaves_room_for_all_that_is_added(tmp_path):
    folder, stem = names.split(f"{tmp_path}/{'x' * 180}", "ignored")
    longest = f".{names.numbered(stem, 999)}-{'f' * 16}-9.9.rejected.json.{'f' * 16}.9999.part"

    (tmp_path / longest).touch()
    assert folder == str(tmp_path)


def test_default_name_is_the_tasks_and_its_own():
    key = "0123456789abcdef" * 4

    assert names.default_stem("hero", key) == "hero-0123456789abcdef"
    assert names.default_stem("group.make hero!", key) == "group-make-hero-0123456789abcdef"
    assert names.default_stem("../../etc/passwd", key) == "etc-passwd-0123456789abcdef"
    assert names.default_stem("日本", key) == "image-0123456789abcdef"
    assert names.default_stem("", key) == "image-0123456789abcdef"
    assert names.default_stem("t" * 250, key) == f"{'t' * 80}-0123456789abcdef"


def test_images_of_an_answer_are_numbered_from_the_second_on():
    assert [names.numbered("hero", index) for index in (1, 2, 3)] == ["hero", "hero-2", "hero-3"]


@pytest.mark.parametrize("name", ["hero.png", "a", "hero-2.v1", "é", "x" * 200])
def test_plain_names(name):
    assert names.is_plain(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hero", "a/b", "/a", "a\\b", "../a", "a\nb", "a\n", "a\0", "\x7f", "\ud800"]
)
def test_names_that_leave_the_folder_or_hide_in_it_are_not_plain(name):
    assert not names.is_plain(name)


def test_locate_names_the_argument_it_speaks_of():
    assert names.locate("/data/.hidden.png", "path") == ("/data", ".hidden.png")
    with pytest.raises(OxenInvalidRequest, match=r"^Nothing was spent\. path 'x' must be"):
        names.locate("x", "path")


@pytest.mark.parametrize("path", ["~", "~/images/", "~ann/hero.png", "file://~/images/", "file:~/images/"])
def test_home_folder_is_another_for_each_user(path):
    assert problem(path).startswith("begins with '~', which is another folder for each user and worker: ")
