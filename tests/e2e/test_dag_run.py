"""An example Dag, started by hand as a new user does: paused at first, with a parameter, seen to succeed."""

from __future__ import annotations

from playwright.sync_api import expect

from .conftest import BUCKET

SECONDS = 90
"""For five task instances, one after another on a busy machine."""


def test_example_runs_from_the_trigger_button(web, hub, site):
    web.dag("example_oxen_mapped")
    run_id = web.trigger(steps="6")
    # Of the run, and of each of its tasks.
    expect(web.page.get_by_text("Success", exact=True)).to_have_count(1 + 5, timeout=SECONDS * 1000)

    paid = [entry["request"] for entry in hub.ledger() if "made of paper, studio light" in entry["prompt"]]
    assert sorted(request["prompt"].split()[1] for request in paid) == ["fox", "heron", "whale"]
    assert {request["num_inference_steps"] for request in paid} == {6}

    web.task("example_oxen_mapped", run_id, "paper", 1)
    result = web.xcom("return_value")
    expect(result).to_contain_text(f"s3://aws_default@{BUCKET}/paper/")
    expect(result).to_contain_text("image/webp")

    web.task("example_oxen_mapped", run_id, "count")
    expect(web.xcom("return_value")).to_contain_text("3")
