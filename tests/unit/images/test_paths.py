"""A path may be a text, or an object of ``pathlib`` or Airflow; what it names is the same."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.images.paths import as_text, check_connection, own_connection, to_render


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("s3://bucket/{{ ds }}/", "s3://bucket/{{ ds }}/"),
        (None, None),
        (7, 7),
        (Path("/data/hero"), "/data/hero"),
        (PurePosixPath("/data/hero.png"), "/data/hero.png"),
        (ObjectStoragePath("/data/hero"), "/data/hero"),
        (ObjectStoragePath("file:///data/hero"), "file:///data/hero"),
        (ObjectStoragePath("file:///data") / "hero", "file:///data/hero"),
        (ObjectStoragePath("file:///data", conn_id="disk"), "file://disk@/data"),
    ],
)
def test_path_object_is_its_text(path, text):
    assert as_text("storage_path", path) == text


def test_what_is_no_path_object_is_rendered_as_it_is():
    assert to_render(["{{ ds }}"]) == ["{{ ds }}"]
    assert to_render(Path("/data/{{ ds }}")) == "/data/{{ ds }}"


@pytest.mark.parametrize("template", ["{{ ds }}", "{% if x %}"])
def test_template_that_nobody_has_rendered_is_told(template):
    with pytest.raises(OxenInvalidRequest, match=r"storage_path is .* has not rendered the template"):
        as_text("storage_path", Path(f"/data/{template}"))


@pytest.mark.parametrize(
    ("path", "conn_id"),
    [
        ("s3://mine@bucket/x", "mine"),
        ("s3://mine@bucket/x", None),
        ("s3://bucket/x", "mine"),
        ("/data/a@b/x", "mine"),
        ("s3://[bucket/x", "mine"),
        (None, "mine"),
    ],
)
def test_one_connection_may_be_named_at_both_places(path, conn_id):
    check_connection("storage_path", path, "storage_conn_id", conn_id)


def test_two_connections_are_an_error_that_names_both():
    with pytest.raises(OxenInvalidRequest) as caught:
        check_connection("prompts", "s3://mine@bucket/x", "prompts_conn_id", "theirs")

    assert "prompts names the Airflow connection 'mine'" in str(caught.value)
    assert "prompts_conn_id is 'theirs'. Name one of them" in str(caught.value)


@pytest.mark.parametrize(("path", "own"), [("s3://mine@b/x", "mine"), ("s3://b/x", None), (["x"], None)])
def test_connection_that_a_path_names(path, own):
    assert own_connection(path) == own
