"""The operator on real Airflow, against a hub over a real socket."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, ObjectStoragePath, task
from PIL import Image

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.operators.images import ImageGenerateOperator

from .conftest import START

AIRFLOW = version("apache-airflow")
KLEIN = "black-forest-labs-flux-2-klein-4b"
REQUEST: dict[str, Any] = {"prompt": "A red cube", "model": KLEIN, "lookup_grace": 0.1}


old_dag_test = pytest.mark.skipif(
    AIRFLOW.startswith("2."), reason="its dag.test() lets AirflowTaskTimeout out; its workers do not"
)


def files(folder: Path) -> list[str]:
    """Return the names of a folder, without the record that Airflow before 3.3 needs there."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".job.json"))


def dag_of(dag_id: str = "images", params: dict[str, Any] | None = None, **arguments: Any) -> DAG:
    soon = {"retry_delay": timedelta(milliseconds=10)}
    with DAG(dag_id, schedule=None, start_date=START, params=params, default_args=soon) as dag:
        ImageGenerateOperator(task_id="hero", **{**REQUEST, **arguments})
    return dag


def test_folder_gets_a_proved_image_and_a_sidecar(connected, run_dag, tmp_path):
    run = run_dag(dag_of(storage_path=f"{tmp_path}/{{{{ ds }}}}/", model_params={"aspect_ratio": "1:1"}))

    assert run.state == "success"
    result = run.xcom("hero")
    [image] = result["images"]
    [paid] = connected.ledger()
    content = Path(image["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == image["sha256"] == paid["sha256"]
    assert len(content) == image["bytes"]
    assert Image.open(io.BytesIO(content)).size == (image["width"], image["height"])
    assert Path(image["path"]).parent.parent == tmp_path
    assert Path(image["path"]).name.startswith("hero-")
    assert result["model"] == KLEIN
    assert result["seed"] == paid["seed"] == paid["request"]["seed"]
    assert result["reused"] is False
    assert "url" not in image
    assert "cost" not in result

    sidecar = json.loads(Path(image["path"]).with_suffix(".json").read_text())
    assert sidecar["sha256"] == image["sha256"]
    assert sidecar["request"] == paid["request"]
    assert (sidecar["dag_id"], sidecar["task_id"], sidecar["try_number"]) == ("images", "hero", 1)
    assert sorted(path.suffix for path in Path(image["path"]).parent.iterdir()) == sorted(
        [".json", Path(image["path"]).suffix]
    )


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_file_form_keeps_the_name_and_the_suffix_follows_the_bytes(
    connected, run_dag, tmp_path, response_format
):
    run = run_dag(
        dag_of(
            storage_path=str(tmp_path / "cube.png"),
            response_format=response_format,
            model_params={"output_format": "webp"},
        )
    )

    [image] = run.xcom("hero")["images"]
    assert image["path"] == str(tmp_path / "cube.webp")
    assert image["media_type"] == "image/webp"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.json", "cube.webp"]
    assert connected.ledger()[0]["request"]["response_format"] == response_format


def test_url_without_storage_pushes_the_link_and_fetches_nothing(connected, run_dag):
    run = run_dag(dag_of())

    [image] = run.xcom("hero")["images"]
    assert image["url"].startswith(connected.url)
    assert list(image) == ["url"]
    assert not [seen for seen in connected.requests() if "/files/" in seen["path"]]


def test_base64_without_storage_pushes_proved_text(connected, run_dag):
    run = run_dag(dag_of(response_format="b64_json", image_size={"width": 64, "height": 48}))

    [image] = run.xcom("hero")["images"]
    content = base64.b64decode(image["b64_json"])
    assert hashlib.sha256(content).hexdigest() == image["sha256"] == connected.ledger()[0]["sha256"]
    assert (image["width"], image["height"]) == (64, 48)


def test_big_base64_is_warned_of(connected, run_dag, monkeypatch):
    monkeypatch.setattr("airflow_provider_oxen.images.inline.WARN_BYTES", 100)

    run = run_dag(dag_of(response_format="b64_json"))

    assert run.state == "success"
    assert "of XCom, in Airflow's database. Set storage_path" in run.log


def test_rendered_arguments_get_their_types(connected, run_dag, tmp_path):
    params = {"seed": 42, "steps": "", "guidance": 3.5, "size": {"width": 96, "height": 64}, "again": False}
    run = run_dag(
        dag_of(
            params=params,
            seed="{{ params.seed }}",
            num_inference_steps="{{ params.steps }}",
            image_size="{{ params.size | tojson }}",
            target_namespace="{{ None }}",
            model_params={"guidance_scale": "{{ params.guidance }}"},
            storage_path=f"{tmp_path}/{{{{ params.seed }}}}.png",
            overwrite="{{ params.again }}",
            validate="{{ None }}",
            max_bytes="",
            oxen_conn_id="{{ params.steps }}",
        )
    )

    assert run.state == "success"
    request = connected.ledger()[0]["request"]
    assert request["seed"] == 42
    assert request["guidance_scale"] == 3.5
    assert request["image_size"] == {"width": 96, "height": 64}
    assert not {"num_inference_steps", "target_namespace"} & set(request)
    assert Path(run.xcom("hero")["images"][0]["path"]).stem == "42"


def test_xcom_arg_and_mapping(connected, run_dag, tmp_path):
    with DAG("mapped", schedule=None, start_date=START) as dag:

        @task
        def seed() -> int:
            return 7

        @task
        def prompts() -> list[str]:
            return ["a fox", "a whale"]

        ImageGenerateOperator.partial(
            task_id="paper", model=KLEIN, seed=seed(), storage_path=f"{tmp_path}/"
        ).expand(prompt=prompts())

    run = run_dag(dag)

    assert run.state == "success"
    assert {entry["prompt"] for entry in connected.ledger()} == {"a fox", "a whale"}
    assert {entry["seed"] for entry in connected.ledger()} == {7}
    assert len(list(tmp_path.glob("paper-*.json"))) == 2
    assert run.xcom("paper", 0)["images"][0]["path"] != run.xcom("paper", 1)["images"][0]["path"]


def test_finished_output_of_the_same_request_is_reused_without_asking_the_hub(connected, run_dag, tmp_path):
    dag = dag_of(storage_path=str(tmp_path / "cube"))
    first = run_dag(dag).xcom("hero")
    connected.settings.latency = 0.0
    asked = len(connected.requests())

    second = run_dag(dag)

    assert second.state == "success"
    assert second.xcom("hero") == {**first, "reused": True}
    assert len(connected.ledger()) == 1
    assert len(connected.requests()) == asked
    assert "Nothing was spent" in second.log


def test_output_of_another_request_is_an_error_that_names_the_file(connected, run_dag, tmp_path):
    run_dag(dag_of(storage_path=str(tmp_path / "cube")))

    run = run_dag(dag_of(storage_path=str(tmp_path / "cube"), prompt="A blue ball"))

    assert run.state == "failed"
    assert f"{tmp_path}/cube.json describes the image of another request" in run.log
    assert len(connected.ledger()) == 1


def test_overwrite_replaces_the_output(connected, run_dag, tmp_path):
    dag = dag_of(storage_path=str(tmp_path / "cube"), overwrite=True)
    first = run_dag(dag).xcom("hero")
    second = run_dag(dag).xcom("hero")

    assert len(connected.ledger()) == 2
    assert second["seed"] != first["seed"]
    [path] = {image["path"] for result in (first, second) for image in result["images"]}
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == second["images"][0]["sha256"]
    sidecar = json.loads((tmp_path / "cube.json").read_text())
    assert sidecar["sha256"] == second["images"][0]["sha256"]
    assert "replacing" not in sidecar


def test_a_strangers_file_is_not_touched(connected, run_dag, tmp_path):
    (tmp_path / "cube.png").write_bytes(b"mine")

    run = run_dag(dag_of(storage_path=str(tmp_path / "cube.png")))

    assert run.state == "failed"
    assert "is there already, without the sidecar" in run.log
    assert (tmp_path / "cube.png").read_bytes() == b"mine"
    assert connected.ledger() == []


def test_all_answered_images_are_kept(connected, run_dag, tmp_path):
    model = "ideogram-v4"
    run = run_dag(
        dag_of(model=model, model_params={"num_images": "3"}, storage_path=str(tmp_path / "fox.png"))
    )

    assert run.state == "success"
    paths = [Path(image["path"]) for image in run.xcom("hero")["images"]]
    assert [path.stem for path in paths] == ["fox", "fox-2", "fox-3"]
    assert all(path.with_suffix(".json").exists() for path in paths)
    assert len({image["sha256"] for image in run.xcom("hero")["images"]}) == 3
    assert run_dag(
        dag_of(model=model, model_params={"num_images": 3}, storage_path=str(tmp_path / "fox.png"))
    ).xcom("hero")["reused"]


def test_lineage_names_each_final_file_once_and_nothing_else(connected, run_dag, tmp_path, monkeypatch):
    from airflow.providers.common.compat.lineage import hook

    reported: list[str] = []

    class Collector:
        def add_output_asset(self, context: Any, uri: str) -> None:
            reported.append(uri)

    monkeypatch.setattr(hook, "get_hook_lineage_collector", Collector)

    run = run_dag(dag_of(storage_path=str(tmp_path / "cube.png"), model_params={"output_format": "png"}))

    assert run.state == "success"
    assert reported == [f"file://{tmp_path}/cube.png"]


def test_lineage_that_fails_does_not_undo_what_was_kept(connected, run_dag, tmp_path, monkeypatch):
    from airflow.providers.common.compat.lineage import hook

    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: None)

    run = run_dag(dag_of(storage_path=str(tmp_path / "cube.png")))

    assert run.state == "success"
    assert "The lineage of the images could not be reported" in run.log


BAD = {
    "empty prompt": ({"prompt": "  "}, "prompt must be a text"),
    "no model": ({"model": ""}, "model must be the model's id"),
    "unknown format": ({"response_format": "png"}, "response_format must be one of url, b64_json, not 'png'"),
    "size of another shape": ({"image_size": [1, 2]}, "image_size must be a preset"),
    "size not positive": (
        {"image_size": {"width": 0, "height": 5}},
        "image_size['width'] must be an integer",
    ),
    "seed no integer": ({"seed": "{{ 'abc' }}"}, "seed must be an integer of at least 0, not 'abc'"),
    "reserved name": ({"model_params": {"prompt": "x"}}, "model_params must not hold 'prompt'"),
    "not JSON": ({"model_params": "{{ {'a': 1} }}"}, "render it with '| tojson'"),
    "missing driver": (
        {"storage_path": "gs://bucket/x/"},
        "pip install 'apache-airflow-providers-google'",
    ),
    "unknown scheme": (
        {"storage_path": "foo://bucket/x/"},
        "Another scheme needs an Airflow provider that registers it.",
    ),
    "relative path": ({"storage_path": "x/"}, "must be an absolute path"),
    "climbing path": ({"storage_path": "/tmp/{{ '../etc' }}/"}, "must not contain '.' or '..'"),
    "unwritable folder": ({"storage_path": "/proc/oxen/"}, "cannot be written to"),
    "no folder at all": ({"storage_path": "/etc/hostname/x/"}, "cannot be written to"),
    "unknown validate": ({"validate": "maybe"}, "validate must be one of error, warn, off, not 'maybe'"),
    "overwrite no boolean": ({"overwrite": "maybe"}, "overwrite must be True or False, not 'maybe'"),
    "max_bytes not positive": ({"max_bytes": 0}, "max_bytes must be an integer of at least 1, not 0"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_sent(connected, run_dag, arguments, message):
    run = run_dag(dag_of(retries=2, **arguments))

    assert run.state == "failed"
    assert run.ti("hero").state == "failed"
    assert run.ti("hero").try_number == 1
    assert message in run.log
    assert connected.requests() == []


def test_schema_contradictions_are_named_all_at_once(connected, run_dag):
    run = run_dag(
        dag_of(num_inference_steps=500, model_params={"output_format": "bmp", "guidance_scale": "much"})
    )

    assert run.state == "failed"
    assert "num_inference_steps: must be at most 50, not 500" in run.log
    assert "output_format: must be one of" in run.log
    assert "guidance_scale: must be of type number, not 'much'" in run.log
    assert connected.ledger() == []


def test_callback_finds_the_error_in_what_failed_the_task(connected, run_dag):
    told = []
    dag = dag_of(
        num_inference_steps=500, on_failure_callback=lambda context: told.append(context["exception"])
    )

    assert run_dag(dag).state == "failed"
    [error] = told
    assert isinstance(error, AirflowFailException)
    assert isinstance(error, OxenInvalidRequest)
    assert error.spent == "no"


def test_unlisted_parameter_is_only_a_warning(connected, run_dag):
    run = run_dag(dag_of(image_size="square_hd"))

    assert run.state == "success"
    assert "image_size: the model's request schema does not list this parameter" in run.log
    assert connected.ledger()[0]["request"]["image_size"] == "square_hd"


def test_validate_warn_sends_what_the_schema_contradicts(connected, run_dag):
    run = run_dag(dag_of(num_inference_steps=500, validate="warn"))

    assert "num_inference_steps: must be at most 50, not 500" in run.log
    # It is the hub that refuses now.
    assert run.state == "failed"
    assert "Getting model response error: 422" in run.log
    assert connected.ledger() == []


def test_validate_off_asks_for_no_model(connected, run_dag):
    run = run_dag(dag_of(validate="off"))

    assert run.state == "success"
    assert [seen["method"] for seen in connected.requests()] == ["POST"]
    assert "seed" not in connected.ledger()[0]["request"]


def test_unknown_model_comes_with_near_names(connected, run_dag):
    run = run_dag(dag_of(model="z-image-turb", retries=1))

    assert run.state == "failed"
    assert "Model not found: z-image-turb" in run.log
    assert "Did you mean 'z-image-turbo'" in run.log


def test_near_names_are_left_out_where_the_catalogue_does_not_answer(connected, run_dag):
    connected.fail(Fault(on="models", kind="status", status=500, times=None))

    run = run_dag(dag_of(model="z-image-turb"))

    assert "Model not found: z-image-turb" in run.log
    assert "Did you mean" not in run.log


def test_validate_warn_goes_on_without_the_model(connected, run_dag):
    run = run_dag(dag_of(model="z-image-turb", validate="warn"))

    assert "Going on, because validate is 'warn'" in run.log
    assert [seen["status"] for seen in connected.requests() if seen["method"] == "POST"] == [404]
    assert connected.ledger() == []


def test_catalogue_that_fails_stops_the_try_before_the_money(connected, run_dag):
    connected.fail(Fault(on="model", kind="status", status=500, times=None))

    run = run_dag(dag_of())

    assert run.state == "failed"
    assert "OxenServerError" in run.log
    assert connected.ledger() == []


def test_validate_warn_goes_on_without_the_catalogue(connected, run_dag):
    connected.fail(Fault(on="model", kind="status", status=500, times=None))

    run = run_dag(dag_of(validate="warn"))

    assert run.state == "success"
    assert "The model could not be checked" in run.log


def test_folder_in_the_sidecars_place_stops_the_try_before_the_money(connected, run_dag, tmp_path):
    (tmp_path / "cube.json").mkdir()

    run = run_dag(dag_of(storage_path=str(tmp_path / "cube.png")))

    assert run.state == "failed"
    assert "OxenOutputDamaged" in run.log
    assert connected.requests() == []


SAFE = {
    "rate limit": Fault(on="generate", kind="status", status=429),
    "hub not taking requests": Fault(
        on="generate", kind="status", status=426, body={"error": {"type": "migration_required"}}
    ),
    "catalogue that fails": Fault(on="model", kind="status", status=500),
}


@pytest.mark.parametrize("fault", SAFE.values(), ids=SAFE)
def test_what_is_safe_to_repeat_is_left_to_airflows_retries(hub, connect, run_dag, tmp_path, fault):
    connect(hub.url, hub.key, max_retries=0)
    hub.fail(fault)

    run = run_dag(dag_of(retries=1, storage_path=f"{tmp_path}/"))

    assert run.state == "success"
    assert run.ti("hero").try_number == 2
    assert "It is safe to try again; Airflow's retries decide." in run.log
    assert len(hub.ledger()) == 1


class FailsOnce(ImageGenerateOperator):
    """Loses what it has returned on its first try, as when XCom cannot be written."""

    def execute(self, context: Any) -> dict[str, Any]:
        result = super().execute(context)
        if context["ti"].try_number == 1:
            raise RuntimeError("the XCom backend is away")
        return result


@pytest.mark.parametrize("overwrite", [True, False])
def test_try_that_is_lost_after_keeping_is_not_paid_again(connected, run_dag, tmp_path, overwrite):
    arguments = {"storage_path": str(tmp_path / "cube"), **REQUEST}
    run_dag(dag_of(**arguments))
    with DAG("lost", schedule=None, start_date=START) as dag:
        FailsOnce(
            task_id="hero",
            retries=1,
            retry_delay=timedelta(milliseconds=10),
            overwrite=overwrite,
            **arguments,
        )

    run = run_dag(dag)

    assert run.state == "success"
    assert run.xcom("hero")["reused"] is True
    assert len(connected.ledger()) == (2 if overwrite else 1)


@pytest.mark.parametrize("text", ["1e5", "1_000", "2024"])
def test_prompt_that_a_native_template_made_a_number_is_refused(connected, run_dag, text):
    with DAG(
        "native", schedule=None, start_date=START, params={"text": text}, render_template_as_native_obj=True
    ) as dag:
        ImageGenerateOperator(task_id="hero", model=KLEIN, prompt="{{ params.text }}", retries=2)

    run = run_dag(dag)

    # What was written there cannot be known any more, and would be paid for.
    assert run.state == "failed"
    assert "prompt" in run.log
    assert "render_template_as_native_obj" in run.log
    assert connected.ledger() == []


def test_lists_of_a_native_template_stay_lists(connected, run_dag):
    with DAG("native", schedule=None, start_date=START, render_template_as_native_obj=True) as dag:
        ImageGenerateOperator(
            task_id="hero", model=KLEIN, prompt="the year 2024", model_params={"seed_hint": "{{ [1] }}"}
        )

    assert run_dag(dag).state == "success"
    assert connected.ledger()[0]["request"]["seed_hint"] == [1]


CAME = "The answer is kept as"

FINAL = {
    "out of credits": (Fault(on="generate", kind="status", status=402, shape="typed"), "OxenCreditsError"),
    "moderation": ("a forbidden thing", "OxenModerationError"),
    "lost answer": (
        Fault(on="generate", kind="drop_after"),
        "An image may have been paid for.",
    ),
    "server error": (Fault(on="generate", kind="status", status=500), "An image may have been paid for."),
    "gateway timeout": (Fault(on="generate", kind="status", status=504, shape="html"), "OxenOutcomeUnknown"),
    "broken answer": (Fault(on="generate", kind="broken_json"), CAME),
    "no images": (Fault(on="generate", kind="no_images"), CAME),
    "empty item": (Fault(on="generate", kind="empty_item"), CAME),
    "gateway that gave up": (
        Fault(on="generate", kind="status", status=503, shape="html", billed=True),
        "An image may have been paid for.",
    ),
    "link that is no URL": (
        Fault(
            on="generate", kind="status", status=200, body={"images": [{"url": "https://[x"}]}, billed=True
        ),
        "OxenDownloadError",
    ),
}


@pytest.mark.parametrize(("cause", "message"), FINAL.values(), ids=FINAL)
def test_what_a_retry_must_not_repeat_fails_without_one(connected, run_dag, tmp_path, cause, message):
    arguments: dict[str, Any] = {}
    if isinstance(cause, Fault):
        connected.fail(cause)
    else:
        arguments["prompt"] = cause

    run = run_dag(dag_of(retries=2, storage_path=f"{tmp_path}/", **arguments))

    assert run.state == "failed"
    assert run.ti("hero").state == "failed"
    assert message in run.log
    posts = [seen for seen in connected.requests() if seen["method"] == "POST"]
    assert len(posts) == 1
    kept = [".rejected", ".json"] if message == CAME else []
    assert sorted(path.suffix for path in tmp_path.glob("hero*")) == sorted(kept)


@old_dag_test
def test_execution_timeout_while_the_hub_works_is_not_paid_for_again(connected, run_dag):
    connected.settings.latency = 30.0

    run = run_dag(dag_of(retries=2, execution_timeout=timedelta(seconds=2)))

    assert run.state == "failed"
    assert "AirflowTaskTimeout" in run.log
    assert "An earlier request of this task" in run.log
    assert "mage may have been paid for" in run.log
    assert len(connected.ledger()) == 1


@old_dag_test
def test_execution_timeout_while_fetching_is_fetched_again_and_paid_once(connected, run_dag, tmp_path):
    connected.fail(Fault(on="file", kind="slow", seconds=30))

    run = run_dag(dag_of(retries=2, execution_timeout=timedelta(seconds=3), storage_path=f"{tmp_path}/"))

    assert run.state == "success"
    assert run.ti("hero").try_number == 2
    assert "AirflowTaskTimeout" in run.log
    assert len(connected.ledger()) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_credits_that_run_out_are_told(connected, run_dag):
    connected.settings.credits = 0.0

    run = run_dag(dag_of(retries=2))

    assert run.state == "failed"
    assert "You have run out of credits." in run.log
    assert "Nothing was spent" in run.log


def test_wrong_key_is_told_and_not_shown(hub, connect, run_dag):
    connect(hub.url, "a-very-wrong-key")

    run = run_dag(dag_of(retries=2))

    assert run.state == "failed"
    assert "OxenAuthenticationError" in run.log
    assert "a-very-wrong-key" not in run.log
    assert hub.ledger() == []


def test_rate_limit_is_waited_out_as_told(connected, run_dag):
    connected.fail(Fault(on="generate", kind="status", status=429, headers={"Retry-After": "0"}))

    run = run_dag(dag_of())

    assert run.state == "success"
    assert len([seen for seen in connected.requests() if seen["method"] == "POST"]) == 2
    assert len(connected.ledger()) == 1


def test_rate_limit_beyond_the_workers_patience_is_left_to_airflow(connected, run_dag):
    connected.fail(
        Fault(on="generate", kind="status", status=429, headers={"Retry-After": "3600"}, times=None)
    )

    run = run_dag(dag_of())

    assert run.state == "failed"
    assert "OxenRateLimited" in run.log
    assert connected.ledger() == []


def test_unreachable_hub_is_left_to_airflows_retries(connect, run_dag, hub):
    port = hub.url.rpartition(":")[2]
    hub_is_gone = f"http://127.0.0.1:{port}"
    hub.close()
    connect(hub_is_gone, "key", max_retries=0)

    run = run_dag(dag_of())

    assert run.state == "failed"
    assert "OxenConnectionError" in run.log
    assert "Nothing was spent" in run.log


def test_bytes_that_are_no_image_are_kept_as_rejected(connected, run_dag, tmp_path):
    connected.fail(Fault(on="enqueue", kind="truncated"))

    run = run_dag(dag_of(retries=2, storage_path=str(tmp_path / "cube.png"), use_queue=True))

    assert run.state == "failed"
    assert run.ti("hero").try_number == 1
    assert files(tmp_path) == ["cube.rejected", "cube.rejected.json"]
    assert f"kept as file://{tmp_path}/cube.rejected" in run.log
    assert len(connected.ledger()) == 1


def test_a_page_in_place_of_the_image_is_fetched_past(connected, run_dag, tmp_path):
    connected.fail(Fault(on="file", kind="not_an_image"))

    run = run_dag(dag_of(retries=2, storage_path=str(tmp_path / "cube.png")))

    assert run.state == "success"
    assert run.ti("hero").try_number == 1
    assert "Asking for it again" in run.log
    assert files(tmp_path) == ["cube.jpg", "cube.json"]


def test_expired_link_is_told_without_its_query(connected, run_dag, tmp_path):
    connected.settings.url_ttl = -1

    run = run_dag(dag_of(retries=2, storage_path=f"{tmp_path}/"))

    assert run.state == "failed"
    assert "OxenExpiredURL" in run.log
    assert "signature=" not in run.log


def test_the_log_tells_the_story_and_no_secret(connected, run_dag, tmp_path):
    run = run_dag(dag_of(storage_path=f"{tmp_path}/"))

    assert f"Asking {connected.url} for an image of {KLEIN}" in run.log
    assert f"Kept {tmp_path}/" in run.log
    assert f"No seed was given: {connected.ledger()[0]['seed']} was chosen" in run.log
    assert connected.key not in run.log
    assert "signature=" not in run.log
    assert connected.key not in json.dumps(run.xcom("hero"))


def picture() -> str:
    """Return a small PNG as base64 text."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def test_an_error_beside_images_does_not_cost_the_images(connected, run_dag, tmp_path):
    answer = {"error": {"message": "one of two failed"}, "images": [{"b64_json": picture()}]}
    connected.fail(Fault("status", status=200, body=answer, billed=True))

    run = run_dag(dag_of(storage_path=f"{tmp_path}/"))

    assert run.state == "success"
    assert "an error beside it: The hub answered 'one of two failed'" in run.log
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_an_odd_item_does_not_cost_the_images_beside_it(connected, run_dag, tmp_path):
    answer = {"images": [{"b64_json": picture()}, {}, {"b64_json": picture()}]}
    connected.fail(Fault("status", status=200, body=answer, billed=True))

    run = run_dag(dag_of(retries=2, storage_path=str(tmp_path / "cube")))

    assert run.state == "success"
    assert "The hub answered 2 images and 1 items that are not images" in run.log
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["cube-2.png", "cube.png"]


def test_a_link_that_is_no_url_does_not_make_a_second_payment(connected, run_dag):
    answer = {"images": [{"url": "https://[broken"}]}
    connected.fail(Fault(on="generate", kind="status", status=200, body=answer, billed=True))

    run = run_dag(dag_of(retries=2))

    assert run.state == "success"
    assert len(connected.ledger()) == 1


def test_a_link_in_xcom_is_not_logged_with_its_signature(connected, run_dag):
    run = run_dag(dag_of())

    assert "signature=" in run.xcom("hero")["images"][0]["url"]
    ours = [line for line in run.log.splitlines() if "airflow_provider_oxen" in line or "Kept" in line]
    assert ours
    assert not [line for line in ours if "signature=" in line]


def test_namespace_comes_from_the_connection_unless_given(hub, connect, run_dag):
    namespace = next(iter(hub.settings.namespaces))
    connect(hub.url, hub.key, target_namespace=namespace)

    run_dag(dag_of())

    assert hub.ledger()[0]["request"]["target_namespace"] == namespace


@pytest.mark.parametrize("layout", ["classic", "ai"])
def test_either_layout_works_on_its_own(connected, run_dag, layout):
    connected.settings.layouts = frozenset({layout})

    run = run_dag(dag_of())

    assert run.state == "success"
    assert len(connected.ledger()) == 1


@pytest.mark.parametrize("kind", [Path, ObjectStoragePath], ids=["pathlib", "Airflow"])
def test_path_object_with_a_template_is_rendered(connected, run_dag, tmp_path, kind):
    with DAG("rendered", schedule=None, start_date=START) as dag:
        ImageGenerateOperator(
            task_id="hero",
            prompt="x",
            model="z-image-turbo",
            storage_path=kind(f"{tmp_path}/{{{{ run_id[:6] }}}}/one"),
        )
        ImageGenerateOperator.partial(
            task_id="cards", model="z-image-turbo", storage_path=kind(f"{tmp_path}/{{{{ run_id[:6] }}}}/many")
        ).expand(prompt=["x"])

    run = run_dag(dag)

    assert run.state == "success"
    [one], [many] = (run.xcom("hero")["images"], run.xcom("cards", 0)["images"])
    assert Path(one["path"]).with_suffix("") == tmp_path / "manual" / "one"
    assert Path(many["path"]).with_suffix("") == tmp_path / "manual" / "many"
