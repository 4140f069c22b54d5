"""A hub that quotes the key and signed links in all it says: nothing of it gets out, by whichever way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_oxen.localhub import Fault

from .scene import KEY, MODEL, all_modes, by_call, by_queue, left_running, paid_once, with_record, with_store
from .test_other_words import rows

WORD = "5f1c-word-that-must-not-leak"
"""The value of every signature here."""

LINK = f"https://store.example/a.png?X-Amz-Credential=AKIA&X-Amz-Signature={WORD}"

DIRTY = {
    "key": f"invalid key {KEY} given",
    "key in other letters": f"invalid key {quote(KEY).replace('-', '%2D')} given",
    "link": f"403 Client Error: Forbidden for url {LINK}",
    "parameter alone": f"the check of X-Amz-Signature={WORD} failed",
    "encoded": f"could not read {quote(LINK, safe='')} now",
    "broken": f"could not read {LINK.replace('X-Amz-S', 'X-Amz-' + chr(10) + '  S')} now",
}
ALL = "; ".join(DIRTY.values())


def seen(scene: Any) -> str:
    """Return all that people and other programs get to see of a task, but for links in its result."""
    files = [
        path.read_text() for path in scene.out.glob("**/*") if path.suffix in (".json", ".jsonl", ".html")
    ]
    told = [
        str(scene.logged),
        repr(scene.errors),
        *map(str, scene.errors),
        json.dumps(scene.told, default=str),
    ]
    return "\n".join([*files, *told, repr(scene.xcoms)])


def clean(text: str) -> bool:
    return WORD not in text and KEY not in text and quote(KEY).replace("-", "%2D") not in text


def a_row(**facts: Any) -> Callable[[str, Any], Any]:
    return rows(lambda row: {**row, **facts})


@with_record
@by_queue
@pytest.mark.parametrize("said", list(DIRTY.values()), ids=list(DIRTY))
def test_reason_of_a_failure_is_told_without_secrets(scene, said):
    scene.hub.fail(Fault("fails", on="enqueue", message=f"{said} (moderation)"))

    played = scene.once()

    assert played.state == "failed"
    assert "(moderation)" in played.error
    assert clean(played.error + seen(scene))


@pytest.mark.parametrize("home", ["file"])
@by_queue
@pytest.mark.parametrize("length", [1_990, 299, 499])
def test_reason_is_redacted_before_it_is_cut(scene, length):
    scene.hub.fail(Fault("fails", on="enqueue", message="x" * length + f" {KEY} {LINK}"))

    played = scene.once()

    text = played.error + seen(scene)
    assert KEY[:6] not in text
    assert "X-Amz-Cred" not in text


@pytest.mark.parametrize("home", ["file"])
@by_queue
def test_words_of_a_row_are_told_without_secrets(scene):
    scene.hub.rewrite_answers(a_row(model_name=f"z-image-turbo {ALL}", media_type=ALL))
    scene.hub.rewrite_answers(a_row(model_name=f"z-image-turbo {ALL}", media_type=ALL, target_namespace=ALL))

    played = scene.play()

    assert played.state == "success", played.error
    assert played.result["model"].startswith("z-image-turbo invalid key ***")
    assert clean(json.dumps(played.result) + seen(scene))


@pytest.mark.parametrize("home", ["file"])
@by_queue
def test_status_that_nobody_knows_is_told_without_secrets(scene):
    scene.slow()
    scene.hub.rewrite_answers(a_row(status=ALL))

    tried = scene.once(timeout=0.05, deferrable=False, use_queue=True)

    assert "which this version does not know" in tried.error
    assert clean(tried.error + seen(scene))


@with_record
@by_call
def test_words_of_an_answer_are_told_without_secrets(scene):
    def dress(route: str, body: Any) -> Any:
        if route != "generate":
            return body
        images = [{**image, "revised_prompt": f"A cube. {ALL}"} for image in body["images"]]
        return {**body, "model": f"turbo {ALL}", "images": images}

    scene.hub.rewrite_answers(dress)

    played = scene.play(storage_path=f"{scene.out}/cube")

    assert played.state == "success", played.error
    assert played.result["model"].startswith("turbo invalid key ***")
    sidecar = json.loads((scene.out / "cube.json").read_text())
    assert sidecar["revised_prompt"].startswith("A cube. invalid key ***")
    assert clean(json.dumps(played.result) + seen(scene))


@pytest.mark.parametrize("home", ["file"])
@all_modes
def test_words_of_a_catalogue_entry_are_told_without_secrets(scene):
    def dress(route: str, body: Any) -> Any:
        rules = {"type": "string", "enum": [LINK, KEY, "a"], "description": ALL}
        if route != "model":
            return body
        schema = {"type": "object", "properties": {"prompt": {}, "style": rules}}
        names = [name for name in ("request_schema", "json_request_schema") if name in body]
        return {
            **body,
            **dict.fromkeys(names, schema),
            "deployments": [{"status": ALL}],
            "model_type": "custom",
        }

    scene.hub.rewrite_answers(dress)

    played = scene.once(model_params={"style": "b"})

    assert "must be one of" in played.error
    assert scene.paid == 0
    assert clean(played.error + seen(scene))


@with_record
@by_call
def test_refusal_is_told_without_secrets(scene):
    scene.hub.rewrite_answers(
        lambda route, body: {"error": {"type": ALL, "detail": ALL}} if route == "generate" else body
    )

    tried = scene.once()

    [error] = tried.errors
    assert clean(tried.error + repr(vars(error)) + seen(scene))


@with_store
@by_call
def test_link_of_a_synchronous_answer_is_found_by_the_next_try_and_read_by_nobody_else(scene):
    # Airflow's supervisor prints at debug level what is written to the store.
    scene.hub.fail(Fault("status", on="file", status=404, times=12))

    played = scene.play(storage_path=f"{scene.out}/cube")

    assert paid_once(scene, played)
    written = [record for record in scene.store.told if record["phase"] == "answered"]
    assert written
    assert not any("http" in json.dumps(record.get("items")) for record in written)


@pytest.mark.parametrize("home", ["file"])
@by_call
def test_link_that_was_sealed_with_another_key_is_said_to_be(scene):
    scene.hub.fail(Fault("status", on="file", status=404, times=1000))
    scene.once()
    sealed = scene.record
    scene.remember({**sealed, "items": [{"sealed": "gAAAAABother"}]})

    tried = scene.once()

    assert "was encrypted with the API key that the connection had then" in tried.error
    assert scene.sent == 1
    scene.hub.clear_faults()
    scene.remember(sealed)
    assert paid_once(scene, scene.clear())


@with_store
@by_queue
def test_no_record_of_a_job_of_the_queue_holds_a_link(scene):
    played = scene.play(storage_path=f"{scene.out}/cube")

    assert paid_once(scene, played)
    assert {record["phase"] for record in scene.store.told} >= {"submitted", "answered", "kept"}
    assert not any(record.get("items") for record in scene.store.told)


@pytest.mark.parametrize("mode", ["polled", "deferred"])
def test_batch_tells_of_its_failures_without_secrets(cast_batch):
    batch = cast_batch()
    batch.hub.fail(Fault("fails", on="enqueue", message=f"{ALL} (moderation)", times=2))

    played = batch.play(on_error="continue")

    assert played.state == "success", played.error
    assert played.result["failed"] == 2
    assert "***" in (batch.out / "manifest.jsonl").read_text()
    assert clean(json.dumps(played.result) + seen(batch))


@pytest.mark.parametrize("home", ["file"])
@by_call
def test_page_in_an_image_s_place_is_kept_without_the_key(scene):
    def dress(route: str, body: Any) -> Any:
        page = f"<html>the key {KEY} is of no use here</html>"
        return {**body, "images": [{"b64_json": page}]} if route == "generate" else body

    scene.hub.rewrite_answers(dress)

    scene.once(response_format="b64_json")

    [rejected] = scene.out.glob("*.rejected")
    assert rejected.read_text() == "<html>the key *** is of no use here</html>"


HELD: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": f"A red cube, {KEY}"},
    "encoded": {"prompt": f"A cube on oxen://:{KEY.replace('-', '%2D')}@hub.example"},
    "folded": {"prompt": f"A cube {KEY[:7]}\n  {KEY[7:]}"},
    "parameter": {"model_params": {"styles": [{"name": f" {KEY}\n"}]}},
    "name of a parameter": {"model_params": {KEY: 1}},
    "model": {"model": KEY},
    "what is wrong anyway": {"image_size": {"width": KEY}},
    "path": {"storage_path": f"/nowhere/{KEY}/"},
    "options": {"storage_options": {"Metadata": {"k": KEY}}},
}


@with_record
@by_call
@pytest.mark.parametrize("held", list(HELD.values()), ids=list(HELD))
def test_request_that_holds_the_key_is_refused_before_anything_is_sent_or_written(scene, held):
    tried = scene.once(**held)

    name = next(iter(held))
    assert tried.state == "failed"
    if name not in ("image_size", "storage_options"):
        # The others are wrong in another way as well, which is found first.
        assert f"{name}: holds the API key of the Oxen connection" in tried.error
        assert "Nothing was spent by this try" in tried.error
    assert scene.sent == 0
    assert {name for name, _ in scene.xcoms} <= {"oxen_facts"}
    assert KEY not in str(scene.xcoms)
    assert clean(tried.error + seen(scene))
    # Whoever mends it and clears the task has its image.
    if name != "storage_path":
        mended = {"prompt": "A red cube", "model": MODEL}
        more = {"model_params": None, "image_size": None, "storage_options": None}
        assert paid_once(scene, scene.clear(**mended, **more, storage_path=f"{scene.out}/cube"))


@pytest.mark.parametrize("home", ["file"])
def test_what_is_paid_for_is_fetched_although_an_argument_holds_the_key_by_now(scene):
    left_running(scene)
    scene.quick()

    assert paid_once(scene, scene.play(storage_conn_id=KEY))


@pytest.mark.parametrize("mode", ["polled"])
def test_rows_that_hold_the_key_are_named_and_nothing_is_sent(cast_batch):
    rows = ["A cube", f"A cube {KEY}", {"prompt": "A ball", "id": KEY}, {"prompt": "A cone", "style": [KEY]}]
    batch = cast_batch(prompts=rows)

    tried = batch.once()

    assert "3 of 4 rows of the list cannot be used" in tried.error
    assert "line 2: it contains the API key of the Oxen connection" in tried.error
    assert "line 4: it contains the API key" in tried.error
    assert batch.posts() == 0
    assert clean(tried.error + seen(batch))


@pytest.mark.parametrize("mode", ["polled"])
@pytest.mark.parametrize(
    "held",
    [
        {"model_params": {"style": KEY}},
        {"storage_path": f"/nowhere/{KEY}"},
        {"prompts": json.dumps(["A cube", KEY])},
        {"prompts": f"/nowhere/{KEY}.txt"},
    ],
    ids=["parameter", "path", "rendered list", "file"],
)
def test_batch_that_holds_the_key_is_refused(cast_batch, held):
    batch = cast_batch()

    tried = batch.once(**held)

    assert f"{next(iter(held))}: holds the API key of the Oxen connection" in tried.error
    assert batch.posts() == 0
    assert clean(tried.error + seen(batch))
