from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import HubSettings
from airflow_provider_oxen.localhub.judge import admit, judge, need_namespace, objection
from airflow_provider_oxen.localhub.problems import Refused

SETTINGS = HubSettings()
BODY = {"model": "z-image-turbo", "prompt": "A red cube"}


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"model": 5}, 400),
        ({"model": "nothing"}, 404),
        ({"prompt": " "}, 400),
        ({"target_namespace": "acme"}, 403),
        ({"model": "google-veo-3-1-fast"}, 400),
    ],
)
@pytest.mark.parametrize("check", [admit, judge])
def test_both_ways_in_have_the_same_door(check, parameters, status):
    with pytest.raises(Refused) as refused:
        check(SETTINGS, {**BODY, **parameters})
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"num_inference_steps": 99}, 422),
        ({"prompt": "A forbidden thing"}, 422),
        ({"response_format": "png"}, 400),
    ],
)
def test_what_the_model_says_stops_a_synchronous_call_only(parameters, status):
    assert admit(SETTINGS, {**BODY, **parameters})["id"] == "z-image-turbo"
    with pytest.raises(Refused) as refused:
        judge(SETTINGS, {**BODY, **parameters})
    assert refused.value.status == status


def test_fields_of_the_queue_are_no_parameters_of_the_model():
    entry = {"id": "x", "request_schema": {"additionalProperties": False, "properties": {"prompt": {}}}}
    own = {
        "num_generations": 2,
        "target_repo": "pictures",
        "target_directory": "new",
        "response_format": "url",
    }
    assert objection(entry, {"prompt": "A red cube", **own}) is None
    assert objection(entry, {"prompt": "A red cube", "seed": 1}).startswith(
        "Getting model response error: 422 - Additional properties"
    )


def test_namespace_is_the_keys_own_where_none_is_named():
    assert need_namespace(SETTINGS, None) == "local-user"
    assert need_namespace(SETTINGS, "local-org") == "local-org"
