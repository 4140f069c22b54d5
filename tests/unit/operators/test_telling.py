"""Outputs by the names that others know them by; real runs are in the integration tests."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.operators.telling import Made, lineage, of_images, plain, tell_assets

MADE = Made("s3://my_conn@bucket/a/b.png", {"sha256": "x"}, 7, 1, "x")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("s3://my_conn@bucket/a.png", "s3://bucket/a.png"),
        ("s3://bucket/a.png?X-Signature=secret", "s3://bucket/a.png"),
        ("/a@b/c.png", "/a@b/c.png"),
    ],
)
def test_a_path_is_told_without_connection_and_signature(path, told):
    assert plain(path) == told


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("s3://my_conn@bucket/a/b.png", "s3://bucket", "a/b.png"),
        ("gs://bucket/b.png", "gs://bucket", "b.png"),
        ("/data/b.png", "file", "/data/b.png"),
        ("file:///data/b.png", "file", "/data/b.png"),
    ],
)
def test_openlineage_knows_a_file_by_its_store(path, namespace, name):
    told = lineage("https://hub.oxen.ai", ["z"], [MADE._replace(path=path)], prompts=path)

    assert [(it.namespace, it.name) for it in told.outputs] == [(namespace, name)]
    assert [(it.namespace, it.name) for it in told.inputs] == [
        ("oxen://hub.oxen.ai", "z"),
        (namespace, name),
    ]


def test_what_is_not_stored_is_no_output():
    result = {"model": "z", "reused": False, "images": [{"url": "https://hub.example/x?signature=secret"}]}

    assert of_images(result) == []


def test_an_event_that_takes_no_facts_is_a_warning(caplog):
    class Away(dict[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            raise RuntimeError("no such event")

    operator = SimpleNamespace(outlets=[Asset("s3://bucket/x")], log=logging.getLogger("task"))
    tell_assets(operator, {"outlet_events": Away()}, [MADE])

    assert "could not be given its facts: no such event" in caplog.text


def test_openlineage_is_told_nothing_before_there_is_anything():
    operator = ImageGenerateOperator(task_id="hero", prompt="x", model="z")

    assert operator.get_openlineage_facets_on_complete(None) is None
