from __future__ import annotations

import itertools

import jsonschema
import pytest

from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.catalogue.price import price
from airflow_provider_oxen.localhub import catalogue
from airflow_provider_oxen.localhub.catalogue import default_catalogue, recorded
from airflow_provider_oxen.localhub.pictures import number_of_images
from airflow_provider_oxen.localhub.validation import objection
from tests.conftest import ROOT

SHARED = ROOT.parent / "shared"
CATALOGUE = {entry["id"]: entry for entry in default_catalogue()}
Z_IMAGE = CATALOGUE["z-image-turbo"]
GPT = CATALOGUE["gpt-image-2"]
CUSTOM = CATALOGUE["local-user-brand-style"]


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_schema_is_one_and_takes_its_own_defaults(entry):
    jsonschema.Draft202012Validator.check_schema(entry["request_schema"])
    needed = dict.fromkeys(entry["request_schema"]["required"], "https://example.com/x")
    assert objection(entry, {**needed, **catalogue.defaults(entry)}) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="what the copy was made of is not here")
def test_recorded_models_are_a_copy_to_the_letter():
    copy = ROOT / "airflow_provider_oxen" / "localhub" / "hub_catalogue.json"
    assert copy.read_bytes() == (SHARED / "hub-catalogue.json").read_bytes()


def test_recorded_models_are_told_to_the_letter(stranger):
    told = {entry["id"]: entry for entry in stranger.get("/api/ai/models").json()["data"]}
    assert [told[entry["id"]] for entry in recorded()] == recorded()


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=CATALOGUE)
def test_bill_is_what_the_client_has_read_in_the_catalogue(entry):
    """Written twice, and independently: one is to notice where the other errs."""
    model = Model.model_validate(catalogue.as_ai(entry))
    for quality, resolution in itertools.product((None, "low", "MAX"), (None, "512", "1K", "2k", "768sq")):
        given = {"quality": quality, "resolution": resolution, "num_images": 2}
        wanted = price(model, given)
        if wanted is not None:
            billed = catalogue.cost(entry, given) * number_of_images(entry, given)
            assert billed == pytest.approx(wanted), given


@pytest.mark.parametrize(
    ("meaning", "wanted"),
    [
        ("video", lambda entry: entry["capabilities"]["output"] == ["video"]),
        ("text", lambda entry: entry["capabilities"]["output"] == ["text"]),
        ("deprecated", lambda entry: entry.get("deprecated")),
        ("cannot run", lambda entry: not entry.get("can_run_inference", True)),
        ("priced by quality", lambda entry: entry["pricing"].get("cost_per_image_grid")),
        ("image_size", lambda entry: "image_size" in entry["request_schema"]["properties"]),
        ("inactive", lambda entry: entry["deployments"] == [{"status": "inactive"}]),
        ("active", lambda entry: entry["deployments"] == [{"status": "active"}]),
    ],
)
def test_there_is_a_model_of_each_sort(meaning, wanted):
    assert [id for id, entry in CATALOGUE.items() if wanted(entry)], meaning


def priced(grid):
    return {"id": "priced", "pricing": {"cost_per_image": 0.5, "cost_per_image_grid": grid}}


@pytest.mark.parametrize(
    ("entry", "body", "usd"),
    [
        (Z_IMAGE, {}, 0.01),
        (GPT, {}, 0.29),
        (GPT, {"quality": "LOW", "resolution": "1k"}, 0.004),
        (GPT, {"quality": "superb", "resolution": "9K"}, 0.02),
        (priced({"1K": 0.02, "4K": 0.2}), {"resolution": "4k"}, 0.2),
        (priced({"low": 0.02, "high": 0.2}), {"quality": "High"}, 0.2),
        (priced({"high": {"2K": 0.05}}), {"size": "2k"}, 0.05),
        (priced({"high": {"2K": 0.05}}), {"size": "1024x1024"}, 0.5),
        (priced({"low": None}), {}, 0.5),
        (CATALOGUE["topazlabs-wonder-3-5-image"], {}, 0.02),
        ({"id": "bare"}, {}, 0.02),
    ],
)
def test_cost_is_flat_or_by_quality_and_resolution(entry, body, usd):
    assert catalogue.cost(entry, body) == usd
