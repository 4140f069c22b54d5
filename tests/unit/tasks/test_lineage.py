"""Outputs by the names that others know them by; real runs are in the integration tests."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks.assets import OutputFile
from airflow_provider_oxen.tasks.lineage import lineage, of_images

MADE = OutputFile("s3://my_conn@bucket/a/b.png", {"sha256": "x"}, 7, 1, "x")


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("s3://my_conn@bucket/a/b.png", "s3://bucket", "a/b.png"),
        ("gs://bucket/b.png", "gs://bucket", "b.png"),
        ("s3://bucket/ä/ds=1/100%/b.png", "s3://bucket", "ä/ds=1/100%/b.png"),
        ("s3://bucket//b.png", "s3://bucket", "/b.png"),
        ("/data/b.png", "file", "/data/b.png"),
        ("/data/ds=1/ä b.png", "file", "/data/ds=1/ä b.png"),
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


def test_openlineage_is_told_nothing_before_there_is_anything():
    operator = ImageGenerateOperator(task_id="hero", prompt="x", model="z")

    assert operator.get_openlineage_facets_on_complete(None) is None
