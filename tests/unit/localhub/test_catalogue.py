from __future__ import annotations

import jsonschema
import pytest

from airflow_provider_oxen.localhub import models
from airflow_provider_oxen.localhub.catalogue import default_catalogue

CATALOGUE = {entry["id"]: entry for entry in default_catalogue()}


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_schema_is_one_and_takes_its_own_defaults(entry):
    jsonschema.Draft202012Validator.check_schema(entry["request_schema"])
    assert models.contradiction(entry, {"prompt": "x", **models.defaults(entry)}) is None


def test_klein_takes_what_its_present_schema_says_and_so_no_image_size():
    assert list(CATALOGUE["black-forest-labs-flux-2-klein-4b"]["request_schema"]["properties"]) == [
        "prompt",
        "aspect_ratio",
        "num_inference_steps",
        "guidance_scale",
        "seed",
        "output_format",
        "output_quality",
    ]


@pytest.mark.parametrize(
    ("meaning", "wanted"),
    [
        ("video", lambda entry: entry["capabilities"]["output"] == ["video"]),
        ("text", lambda entry: entry["capabilities"]["output"] == ["text"]),
        ("deprecated", lambda entry: entry["deprecated"]),
        ("cannot run", lambda entry: not entry["can_run_inference"]),
        ("priced by quality", lambda entry: entry["pricing"]["cost_per_image_grid"]),
        ("image_size", lambda entry: "image_size" in entry["request_schema"]["properties"]),
        ("inactive", lambda entry: entry["deployments"] == [{"status": "inactive"}]),
        ("active", lambda entry: entry["deployments"] == [{"status": "active"}]),
    ],
)
def test_there_is_a_model_of_each_sort(meaning, wanted):
    assert [id for id, entry in CATALOGUE.items() if wanted(entry)], meaning
