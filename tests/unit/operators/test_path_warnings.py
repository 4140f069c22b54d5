"""What would surprise after the payment is said before it, in one line, with the remedy."""

from __future__ import annotations

import os
from typing import Any

import pytest

from airflow_provider_oxen.images.local import LocalFolder
from airflow_provider_oxen.tasks.path_warnings import path_warnings

from .scene import KEY, MODEL, Scene, all_modes, by_call, by_queue, paid_once, stopped

FORMAT = {"properties": {"output_format": {"type": "string", "default": "webp"}}}


def told(path: str | None, parameters: dict | None = None, schema: dict | None = None, **more) -> list[str]:
    more = {"run_id": "manual__1", "overwrite": False, **more}
    return list(path_warnings(path, parameters or {}, schema, **more))


@pytest.mark.parametrize(
    "path",
    [
        None,
        "/data/hero/",
        "s3://bucket/",
        "/data/2026-11-28",
        "s3://bucket/20261128/hero.png",
        "/data/2026/11/28/hero",
        "/data/manual__1.png",
    ],
)
def test_folder_or_file_of_one_run_holds_no_surprise(path):
    assert told(path, {"output_format": "png"}, FORMAT) == []


def test_file_that_every_run_has_in_common_will_be_taken():
    [warning] = told("s3://bucket/hero")

    assert warning.startswith("storage_path 's3://bucket/hero' is one file: a later run ")
    assert warning.endswith("end it with '/', or put {{ run_id }} into it.")
    assert told("s3://bucket/hero", overwrite=True) == []
    assert "secret" not in told("s3://id:secret@bucket/hero")[0]


@pytest.mark.parametrize(
    ("name", "parameters", "schema", "file"),
    [
        ("hero.png", {}, FORMAT, "hero.webp"),
        ("hero.PNG", {"output_format": "JPEG"}, None, "hero.jpg"),
        ("hero.v2.webp", {"output_format": "png"}, FORMAT, "hero.v2.png"),
        ("hero.jpg", {"format": "avif"}, {}, "hero.avif"),
        ("hero.tiff", {}, FORMAT, "hero.tiff.webp"),
        ("hero.bmp", {}, None, "hero.bmp.png"),
    ],
)
def test_suffix_that_the_bytes_will_not_have_is_told_with_the_files_name(name, parameters, schema, file):
    [warning] = told(f"/data/{name}", parameters, schema, overwrite=True)

    assert repr(file) in warning


@pytest.mark.parametrize(
    ("name", "parameters", "schema"),
    [
        ("hero.png", {}, None),
        ("hero.jpeg", {"output_format": "jpg"}, None),
        ("hero.webp", {}, FORMAT),
        ("hero", {}, FORMAT),
        ("hero.v2", {}, FORMAT),
        ("hero.png", {"output_format": "raw"}, FORMAT),
        ("hero.png", {"output_format": 5}, {"properties": []}),
        ("hero.png", {}, {"properties": {"output_format": "png"}}),
    ],
)
def test_suffix_that_may_be_right_is_not(name, parameters, schema):
    assert told(f"/data/{name}", parameters, schema, overwrite=True) == []


@all_modes
def test_surprises_are_logged_before_anything_is_sent(scene: Scene, monkeypatch):
    posts = []

    def warned(*given: Any, **more: Any) -> Any:
        posts.append(scene.sent)
        return path_warnings(*given, **more)

    monkeypatch.setattr("airflow_provider_oxen.tasks.image.path_warnings", warned)

    assert paid_once(scene, scene.play(storage_path=f"{scene.out}/cube.png"))

    assert posts == [0]
    assert "is one file: a later run" in scene.logged
    assert "the file will be 'cube.webp'" in scene.logged


@all_modes
def test_folder_without_its_slash_is_refused_before_anything_is_sent(scene: Scene):
    (scene.out / "cubes").mkdir(parents=True)

    message = stopped(scene, scene.play(storage_path=f"{scene.out}/cubes"), sent=0)

    assert f"{scene.out}/cubes' is a folder, and does not end in '/'." in message
    assert "End it with '/'" in message
    assert scene.clear(storage_path=f"{scene.out}/cubes.png").state == "success"


@by_call
def test_folder_beside_an_image_that_is_kept_is_none_of_its_business(scene: Scene):
    assert paid_once(scene, scene.play())
    (scene.out / "cube").mkdir()

    assert scene.clear().result["reused"]


@by_call
def test_folder_that_nobody_may_look_at_may_be_none(scene: Scene, monkeypatch):
    def refuse(self, name):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(LocalFolder, "is_folder", refuse)

    assert paid_once(scene, scene.play())


@by_queue
def test_home_folder_is_refused_with_what_it_would_be_here(scene: Scene, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")

    message = stopped(scene, scene.play(storage_path="~/images/"), sent=0)

    assert "storage_path '~/images/' begins with '~', which is another folder for each user" in message
    assert "'/home/ann/images/'" in message


@all_modes
@pytest.mark.parametrize("validate", ["error", "off"])
def test_connection_without_a_password_is_refused_before_anything_is_sent(
    scene: Scene, monkeypatch, validate
):
    monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", os.environ["AIRFLOW_CONN_OXEN_DEFAULT"].replace(KEY, ""))

    message = stopped(scene, scene.play(validate=validate), sent=0)

    assert "has no password. Put the API key into its password field" in message
    assert scene.hub.requests() == []


def test_batch_without_a_password_is_refused_before_anything_is_sent(cast_batch, monkeypatch):
    batch = cast_batch()
    monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", os.environ["AIRFLOW_CONN_OXEN_DEFAULT"].replace(KEY, ""))

    played = batch.play()

    assert played.state == "failed"
    assert "has no password. Put the API key into its password field" in played.error
    assert batch.posts() == 0


@by_queue
def test_kept_image_is_given_without_a_password(scene: Scene, monkeypatch):
    assert paid_once(scene, scene.play())
    monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", os.environ["AIRFLOW_CONN_OXEN_DEFAULT"].replace(KEY, ""))

    assert scene.clear().result["reused"]


@by_queue
def test_host_without_a_scheme_on_a_port_that_speaks_http_is_told_so(scene: Scene, connect):
    connect(scene.hub.url.removeprefix("http://"))

    message = stopped(scene, scene.play(), sent=0)

    assert "answers in plain HTTP, not TLS. If that is meant, write http:// before the host" in message
    assert "OxenSettingsError" in message
    assert scene.arguments["model"] == MODEL
