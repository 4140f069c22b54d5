from __future__ import annotations

import json

import pytest

from airflow_provider_oxen.localhub.problems import Json, Refused, default_text


def body(refused: Refused, open_shape: str):
    return json.loads(refused.answer(open_shape).body)


def test_open_shape_follows_the_setting():
    refused = Refused(422, "No.", headers={"Retry-After": "1"})
    assert body(refused, "message") == {"error": {"message": "No."}}
    assert body(refused, "typed") == {
        "error": {"type": "unprocessable_entity", "title": "Unprocessable entity", "detail": "No."},
        "status": "error",
        "status_message": "unprocessable_entity",
    }
    assert refused.answer("typed").headers["retry-after"] == "1"


def test_fixed_shape_does_not():
    assert "message" in body(Refused(404, "x", shape="message"), "typed")["error"]
    assert "type" in body(Refused(401, "x", shape="typed"), "message")["error"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (402, "You have run out of credits."),
        (503, "Service Unavailable (simulated)"),
        (599, "Unknown (simulated)"),
    ],
)
def test_every_status_has_a_text(status, text):
    assert default_text(status) == text


def test_json_survives_half_a_surrogate_pair():
    assert json.loads(Json({"prompt": "\ud800"}).body) == {"prompt": "\ud800"}
