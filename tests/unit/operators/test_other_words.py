"""A hub that tells ends, answers and failures in other words than its documentation, over a real socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_oxen.localhub import Fault

from .scene import (
    KEY,
    all_modes,
    by_call,
    by_queue,
    left_running,
    paid_once,
    queue_and_homes,
    stopped,
    with_record,
)

LOOKS = ("job", "record")


def rows(change: Callable[[dict[str, Any]], Any]) -> Callable[[str, Any], Any]:
    """Change each row that tells a generation."""

    def dress(route: str, body: Any) -> Any:
        if route in LOOKS:
            return change(body.get("generation", body))
        if route in ("queue", "history"):
            return {**body, "generations": [change(row) for row in body["generations"]]}
        return body

    return dress


def _word(word: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda row: {**row, "status": word} if row["status"] == "succeeded" else row


def _moved(place: Callable[[str], dict[str, Any]]) -> Callable[[dict[str, Any]], Any]:
    def change(row: dict[str, Any]) -> Any:
        link = row["result_url"]
        rest = {name: value for name, value in row.items() if name != "result_url"}
        return rest | place(link) if link else row

    return change


def _times(value: Callable[[float], Any]) -> Callable[[dict[str, Any]], Any]:
    def change(row: dict[str, Any]) -> Any:
        names = ("enqueued_at", "started_at", "completed_at")
        return {**row, **{name: value(row[name]) for name in names if row[name] is not None}}

    return change


ENDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "capital": _word("Succeeded"),
    "completed": _word("COMPLETED"),
    "done": _word("done"),
    "new word": _word("post-processed"),
    "no word": _word(None),
    "no status": lambda row: {name: value for name, value in row.items() if name != "status"},
    "state": lambda row: {"state": row["status"], **{n: v for n, v in row.items() if n != "status"}},
    "url": _moved(lambda link: {"url": link}),
    "output": _moved(lambda link: {"output": [link]}),
    "result": _moved(lambda link: {"result": {"images": [{"url": link}]}}),
    "images": _moved(lambda link: {"images": [{"url": link}], "status": "ready_for_you"}),
    "spaced": _moved(lambda link: {"result_url": f"  {link}\n"}),
    "relative": _moved(lambda link: {"result_url": "/api" + link.partition("/api")[2]}),
    "scheme-relative": _moved(lambda link: {"result_url": link.removeprefix("http:")}),
    "id": lambda row: {"id": row["generation_id"], **{n: v for n, v in row.items() if n != "generation_id"}},
    "generation": lambda row: {"generation": row},
    "data": lambda row: {"data": row},
    "milliseconds": _times(lambda moment: moment * 1000),
    "iso": _times(lambda moment: "2026-05-28T20:26:40Z"),
    "text": _times(str),
    "infinite": _times(lambda moment: float("inf")),
    "nan": _times(lambda moment: float("nan")),
    "endless": _times(lambda moment: 10**400),
    "negative": _times(lambda moment: -1),
    "boolean": _times(lambda moment: True),
    "odd cost": lambda row: {**row, "cost": -1e308} if "cost" in row else row,
}


@pytest.mark.parametrize("home", ["file"])
@by_queue
@pytest.mark.parametrize("change", list(ENDS.values()), ids=list(ENDS))
def test_end_is_seen_in_whatever_words_it_is_told(scene, change):
    scene.hub.rewrite_answers(rows(change))

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)


@pytest.mark.parametrize("home", ["file"])
@by_queue
@pytest.mark.parametrize(
    "facts",
    [
        {"status": "resting", "result_url": None, "completed_at": 5, "error_message": "who knows"},
        {"status": None, "result_url": None},
    ],
    ids=["odd word", "no word"],
)
def test_hint_never_closes_a_paid_job(scene, facts):
    scene.hub.rewrite_answers(rows(lambda row: {**row, **facts}))

    tried = scene.once(timeout=0.2)

    assert "OxenGenerationTimeout" in tried.error
    assert "or cancel it on the hub and clear the task" in tried.error
    scene.hub.rewrite_answers(None)
    assert paid_once(scene, scene.clear(timeout=60))


@with_record
@by_queue
def test_cleared_task_waits_for_its_job_anew(scene):
    """Counted from the submission, each of its tries would fail at once, for as long as the job goes on."""
    left_running(scene)
    scene.hub.rewrite_answers(rows(lambda row: {**row, "status": "processing", "result_url": None}))
    looks = []

    def then(route: str, body: Any) -> Any:
        looks.append(route)
        row = body.get("generation", body)
        return (
            {**row, "status": "processing", "result_url": None}
            if len(looks) < 3 and "status" in row
            else body
        )

    scene.hub.rewrite_answers(then)
    scene.later()

    # Long after its submission by more than the timeout.
    played = scene.clear(timeout=20)

    assert played.errors == []
    assert paid_once(scene, played)


@queue_and_homes
@pytest.mark.parametrize(
    ("message", "retryable", "tries"),
    [
        ("a word that nobody knows", None, 2),
        ({"message": {"detail": "a word that nobody knows"}}, None, 2),
        ({"errors": [{"msg": "DataInspectionFailed - Green net check failed for text (input)"}]}, None, 1),
        ("InputImageSensitiveContentDetected", None, 1),
        ("403 Client Error: Forbidden for url https://x.example/?sig=1", None, 1),
        ("Insufficient credits", True, 2),
        ("a word that nobody knows", False, 1),
    ],
    ids=str,
)
def test_row_decides_whether_a_failure_is_final_and_else_its_words(scene, message, retryable, tries):
    scene.hub.fail(Fault("fails", on="enqueue", message=message, retryable=retryable))

    played = scene.play()

    assert len(played.errors) == 1
    assert scene.sent == tries
    assert played.state == ("success" if tries == 2 else "failed")
    assert "{" not in str(played.errors[0]), "an object is told in words"


def _items(change: Callable[[list[Any]], Any]) -> Callable[[str, Any], Any]:
    return lambda route, body: change(body["images"]) if route == "generate" else body


ANSWERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": lambda images: images,
    "texts": lambda images: {"images": [next(iter(item.values())) for item in images]},
    "one": lambda images: images[0],
    "object": lambda images: {"images": images[0]},
    "data": lambda images: {"data": images},
    "image": lambda images: {"image": next(iter(images[0].values()))},
    "nested": lambda images: {"data": {"result": {"images": images}}},
    "text": lambda images: next(iter(images[0].values())),
    "number beside": lambda images: {"images": [{"url": 5}, *images, None]},
    "blank": lambda images: {"images": [{name: f"  {value}\n" for name, value in images[0].items()}]},
    "odd facts": lambda images: {"images": images, "created": float("inf"), "model": ["x"]},
    "bare body": lambda images: next(iter(images[0].values())).encode(),
}


@pytest.mark.parametrize("home", ["file"])
@by_call
@pytest.mark.parametrize("response_format", ["url", "b64_json"])
@pytest.mark.parametrize("change", list(ANSWERS.values()), ids=list(ANSWERS))
def test_image_is_found_in_whatever_clothes_it_comes(scene, change, response_format):
    scene.hub.rewrite_answers(_items(change))

    played = scene.play(response_format=response_format)

    assert played.errors == []
    assert paid_once(scene, played)
    assert played.image["sha256"] == scene.hub.ledger()[0]["sha256"]


DIALECTS: dict[str, Callable[[str], Any]] = {
    "data uri": lambda text: f"data:image/png;base64,{text}",
    "url-safe": lambda text: text.replace("+", "-").replace("/", "_"),
    "no padding": lambda text: text.rstrip("="),
    "lines": lambda text: "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    "percent": lambda text: text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    "python": lambda text: f"b'{text}'",
}


@pytest.mark.parametrize("home", ["none", "file"])
@by_call
@pytest.mark.parametrize("change", list(DIALECTS.values()), ids=list(DIALECTS))
def test_base64_of_any_dialect_is_kept_bit_for_bit(scene, change):
    scene.hub.rewrite_answers(
        _items(lambda images: {"images": [{"b64_json": change(images[0]["b64_json"])}]})
    )

    played = scene.play(response_format="b64_json")

    assert played.errors == []
    assert played.image["sha256"] == scene.hub.ledger()[0]["sha256"]
    if scene.home == "none":
        assert base64.b64decode(played.image["b64_json"], validate=True)


@pytest.mark.parametrize("home", ["none"])
@by_call
def test_relative_link_in_xcom_is_a_whole_one(scene):
    scene.hub.rewrite_answers(
        _items(lambda images: {"images": ["/api" + images[0]["url"].partition("/api")[2]]})
    )

    assert scene.play().image["url"].startswith(f"{scene.hub.url}/api/repos/")


@pytest.mark.parametrize("home", ["file"])
@by_call
def test_body_that_is_the_image_itself_is_kept(scene):
    scene.hub.rewrite_answers(_items(lambda images: base64.b64decode(images[0]["b64_json"])))

    assert paid_once(scene, scene.play(response_format="b64_json"))


@pytest.mark.parametrize("home", ["file"])
@by_call
@pytest.mark.parametrize(
    "came", [b'{"images": [{"url": "https', {"pictures": [KEY]}], ids=["cut off", "new words"]
)
def test_paid_answer_that_cannot_be_read_is_kept_and_said_to_have_come(scene, came):
    scene.hub.rewrite_answers(lambda route, body: came if route == "generate" else body)

    message = stopped(scene, scene.play(), sent=1)

    assert [name for name in scene.files if name[0] != "."] == ["cube.rejected", "cube.rejected.json"]
    kept = (scene.out / "cube.rejected").read_text()
    assert kept == (came.decode() if isinstance(came, bytes) else json.dumps({"pictures": ["***"]}))
    assert "The hub answered the request to" in message
    assert "lost" not in message
    assert f"The answer is kept as file://{scene.out}/cube.rejected" in message
    # A later try knows it, too, and spends nothing.
    again = stopped(scene, scene.clear(), sent=1)
    assert "The hub answered the request to" in again
    assert "cube.rejected" in again


@pytest.mark.parametrize("home", ["none"])
@by_call
def test_without_a_place_an_answer_that_cannot_be_read_is_said_to_have_come(scene):
    scene.hub.rewrite_answers(lambda route, body: {"pictures": []} if route == "generate" else body)

    message = stopped(scene, scene.play(), sent=1)

    assert "The hub answered the request to" in message
    assert "kept as" not in message


@pytest.mark.parametrize("home", ["file"])
@by_call
def test_place_that_does_not_take_the_answer_hides_no_error(scene, monkeypatch):
    from airflow_provider_oxen.api.errors import OxenStorageError
    from airflow_provider_oxen.tasks.output import Output

    def full(*arguments: Any) -> None:
        raise OxenStorageError("The disk is full.")

    monkeypatch.setattr(Output, "keep_answer", full)
    scene.hub.rewrite_answers(lambda route, body: {"pictures": []} if route == "generate" else body)

    assert "The hub answered the request to" in stopped(scene, scene.play(), sent=1)
    assert "The answer could not be kept: The disk is full." in scene.logged


def last_call(scene: Any) -> str:
    """Return the id that the history has for the last synchronous call."""
    return str(scene.hub.calls()[-1]["generation_id"])


@with_record
@by_call
@pytest.mark.parametrize(
    "answer",
    [
        lambda id: {"generation_id": id, "status": "processing", "url": "https://hub.example/status"},
        lambda id: {"data": {"id": id, "status": "queued"}},
        lambda id: {"generations": [{"id": id, "status": "queued"}]},
    ],
    ids=["row", "data", "generations"],
)
def test_id_in_an_answer_leads_to_the_image(scene, answer):
    scene.hub.settings.history_shows_generate = True
    scene.hub.rewrite_answers(lambda route, body: answer(last_call(scene)) if route == "generate" else body)

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)


@pytest.mark.parametrize("home", ["file"])
@by_call
def test_answer_with_an_id_and_who_knows_what_is_kept_and_its_id_is_used(scene):
    scene.hub.settings.history_shows_generate = True
    scene.hub.rewrite_answers(
        lambda route, body: {"id": last_call(scene), "x": 1} if route == "generate" else body
    )

    played = scene.play()

    assert played.errors == []
    assert scene.paid == scene.sent == 1
    assert {"cube.json", "cube.rejected", "cube.rejected.json"} < set(scene.files)


@pytest.mark.parametrize("home", ["file"])
@by_queue
@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: rows,
        lambda rows: rows[0],
        lambda rows: {"id": rows[0]["generation_id"]},
        lambda rows: {"generation": rows[0]},
        lambda rows: {"data": {"id": rows[0]["generation_id"], "status": "queued"}},
        lambda rows: {"generations": [rows[0]["generation_id"]]},
        lambda rows: {"generations": [None, 5.5, {"id": rows[0]["generation_id"]}]},
        lambda rows: {"error": None, "generation_ids": [rows[0]["generation_id"]]},
    ],
)
def test_id_of_a_job_is_found_in_whatever_clothes_the_answer_comes(scene, answer):
    scene.hub.rewrite_answers(lambda route, body: answer(body["generations"]) if route == "enqueue" else body)
    asked = "Looking for it on the hub."

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert asked not in scene.logged


@pytest.mark.parametrize("home", ["file"])
@by_queue
def test_answer_of_the_queue_that_cannot_be_read_is_found_in_the_lists(scene):
    scene.hub.rewrite_answers(lambda route, body: {"ok": True} if route == "enqueue" else body)

    played = scene.play()

    assert played.errors == []
    assert paid_once(scene, played)
    assert "The hub answered the request to" in scene.logged


@pytest.mark.parametrize("home", ["file"])
@all_modes
def test_fewer_images_than_asked_for_are_kept_and_told(scene):
    """Of some models only the first is returned, and all are billed."""

    def first(route: str, body: Any) -> Any:
        return {**body, "images": body["images"][:1]} if route == "generate" else body

    scene.hub.rewrite_answers(first)

    played = scene.play(model="ideogram-v4", model_params={"num_images": 3})

    assert played.errors == []
    assert played.image["path"]
    if scene.mode == "synchronous":
        assert "The hub answered 1 images and 0 items that are not images; 3 were asked for." in scene.logged
