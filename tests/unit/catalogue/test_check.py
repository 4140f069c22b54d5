"""A catalogue entry says what will never be, what is not yet, and what is odd."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import Model
from airflow_provider_oxen.catalogue.check import Findings, check, near_names, report

SCHEMA = {
    "required": ["prompt"],
    "properties": {"prompt": {"type": "string"}, "steps": {"type": "integer", "maximum": 50}},
}


def model(**facts: Any) -> Model:
    entry = {"id": "turbo", "capabilities": {"output": ["image"]}, "request_schema": SCHEMA, **facts}
    return Model.model_validate(entry)


def test_model_that_fits_has_nothing_against_it():
    assert check(model(), {"prompt": "p", "steps": 4}) == Findings([], None, [])


@pytest.mark.parametrize(
    ("output", "made"),
    [
        (["video", "text"], "text, video"),
        ([], "the catalogue does not say what"),
        (None, "the catalogue does not say what"),
    ],
    ids=str,
)
def test_model_that_makes_no_images_never_will(output, made):
    findings = check(model(capabilities={"output": output}), {"prompt": "p"})

    assert findings.never == [f"Model 'turbo' does not make images (it makes {made})"]


def test_contradicted_parameter_never_fits():
    assert check(model(), {"prompt": "p", "steps": 51}).never == ["steps: must be at most 50, not 51"]


def test_missing_parameter_counts_for_a_whole_request_only():
    assert check(model(), {}).never == ["prompt: missing, and the model requires it"]
    assert check(model(), {}, whole=False) == Findings([], None, [])


def test_model_that_cannot_run_may_later():
    custom = model(model_type="custom", deployments=[{"status": "deploying"}])

    assert check(custom, {"prompt": "p"}) == Findings(
        [],
        "Model 'turbo' cannot run now: no deployment of this custom model is active (now: deploying)",
        [],
    )


def test_deprecated_model_and_unlisted_parameter_are_odd():
    assert check(model(deprecated=True), {"prompt": "p", "new": 1}).warnings == [
        "Model 'turbo' is deprecated",
        "new: the model's request schema does not list this parameter; it is sent as it is",
    ]


def test_all_is_found_at_once():
    bad = model(capabilities=None, can_run_inference=False, deprecated=True)
    findings = check(bad, {"steps": "x", "new": 1})

    assert (len(findings.never), bool(findings.not_yet), len(findings.warnings)) == (3, True, 2)


@pytest.mark.parametrize(
    ("wanted", "question"),
    [
        ("z-image-turb", "Did you mean 'z-image-turbo'?"),
        ("Z-IMAGE-TURBO", "Did you mean 'z-image-turbo'?"),
        ("flux-2-klein-4", "Did you mean 'flux-2-klein-4b' or 'flux-2-klein-9b'?"),
        ("something else entirely", ""),
        ("", ""),
    ],
)
def test_near_names_are_asked_for(wanted, question):
    names = ("z-image-turbo", "flux-2-klein-4b", "flux-2-klein-9b", "veo-3")

    assert near_names(wanted, (Model(id=name) for name in names)) == question


def test_at_most_three_names_are_near():
    assert near_names("model", [Model(id=f"model-{number}") for number in range(9)]).count("'") == 6


def test_nothing_is_near_in_an_empty_catalogue():
    assert near_names("turbo", []) == ""


@pytest.mark.parametrize(
    ("off", "advice"),
    [
        (
            {"can_run_inference": False},
            "Choose another model, or wait until it can run with OxenModelSensor.",
        ),
        (
            {"model_type": "custom", "deployments": []},
            "Deploy it on the hub, or wait until it can run with OxenModelSensor.",
        ),
    ],
)
def test_model_that_cannot_run_is_advised_on(off, advice):
    with pytest.raises(OxenInvalidRequest) as caught:
        report(model(**off), {"prompt": "p"}, "error")

    assert caught.value.remedy == advice
    assert caught.value.cause.startswith("Model 'turbo' cannot run now: ")


def test_what_is_wrong_is_refused_with_all_of_it():
    with pytest.raises(
        OxenInvalidRequest, match=r"'turbo' cannot do what is asked: steps: .*; Model .* cannot run now"
    ):
        report(model(can_run_inference=False), {"prompt": "p", "steps": 51}, "error")


def test_what_is_wrong_is_logged_where_warnings_are_wanted(caplog):
    report(model(deprecated=True), {"prompt": "p", "steps": 51}, "warn")

    assert [record.getMessage() for record in caplog.records] == [
        "steps: must be at most 50, not 51",
        "Model 'turbo' is deprecated",
    ]
