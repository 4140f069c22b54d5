"""A deferred task goes on with the arguments that it was asked with, whatever its operator has by then."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks.arguments import ImageArguments
from airflow_provider_oxen.tasks.deferral import restore, with_arguments

from .batch_scene import all_kept
from .scene import MODEL, SEEDLESS, all_homes, paid_once, stopped, with_record

deferred = pytest.mark.parametrize("mode", ["deferred"])

ASKED: dict[str, Any] = {
    "prompt": "  A red cube, 007\n",
    "model": "klein",
    "response_format": "b64_json",
    "image_size": '{"width": 16, "height": 32}',
    "num_inference_steps": "4",
    "seed": 2**63,
    "target_namespace": "team",
    "model_params": {"a": (1, (2.5, None)), "b": {"c": "1e5"}, "d": "3.70", "e": True},
    "storage_path": "s3://bucket/hero/",
    "storage_conn_id": "aws",
    "storage_options": {"ACL": "private"},
    "overwrite": "True",
    "validate": "off",
    "max_bytes": "1000",
    "max_cost": "0.5",
    "use_queue": None,
    "deferrable": True,
    "poll_interval": timedelta(seconds=7),
    "timeout": timedelta(minutes=90),
    "cancel_on_timeout": True,
    "cancel_on_kill": "true",
    "on_unknown_outcome": "adopt",
    "on_changed_request": "submit",
    "lookup_grace": timedelta(seconds=61.5),
    "target_repo": "a/b",
    "previews": False,
    "oxen_conn_id": "another",
}
"""Every argument of the operator of one image, and none as it is by default."""

MANY: dict[str, Any] = {
    **{
        name: value
        for name, value in ASKED.items()
        if name in inspect.signature(ImageBatchGenerateOperator).parameters
    },
    "prompts": "s3://bucket/prompts.csv",
    "prompts_conn_id": "other",
    "max_in_flight": "3",
    "requests_per_minute": 12.5,
    "allow_unknown_price": "1",
    "on_error": "continue",
    "max_failures": "5%",
    "use_queue": True,
}
"""Every argument of the batch operator."""


def one(**arguments: Any) -> ImageGenerateOperator:
    return ImageGenerateOperator(task_id="hero", **{"prompt": "Other", "model": "other", **arguments})


def many(**arguments: Any) -> ImageBatchGenerateOperator:
    given = {"prompts": ["Other"], "storage_path": "/other", **arguments}
    return ImageBatchGenerateOperator(task_id="hero", **given)


def own(operator: type) -> set[str]:
    return set(inspect.signature(operator).parameters) - {"kwargs"}


def test_every_argument_of_one_image_travels():
    assert own(ImageGenerateOperator) == set(ASKED)
    read = ImageArguments.of(one(**ASKED))
    kept = json.loads(json.dumps(with_arguments({"nonce": "1"}, read.as_json())))
    resumed = one()

    rest = restore(resumed, kept, ImageGenerateOperator.template_fields)

    assert rest == {"nonce": "1"}
    assert set(kept["arguments"]) == set(ASKED)
    again = ImageArguments.of(resumed)
    assert again == read
    assert again.request().body() == read.request().body()


def test_every_argument_of_a_batch_travels_but_its_list():
    assert own(ImageBatchGenerateOperator) == set(MANY)
    read = BatchArguments.of(many(**MANY))
    kept = json.loads(json.dumps(with_arguments({}, read.as_json())))
    resumed = many()

    restore(resumed, kept, ImageBatchGenerateOperator.template_fields)

    assert set(kept["arguments"]) == set(MANY)
    assert BatchArguments.of(resumed) == read
    assert "prompts" not in BatchArguments.of(many()).as_json()
    assert "prompts" not in BatchArguments.of(many(prompts='["A cube"]')).as_json()


@pytest.mark.parametrize("failures", [0, 1, 1.0, 0.25, "5%", "100%", None], ids=repr)
def test_a_count_of_failures_stays_a_count_and_a_share_a_share(failures):
    read = BatchArguments.of(many(on_error="continue", max_failures=failures))
    kept = json.loads(json.dumps(with_arguments({}, read.as_json())))
    resumed = many()

    restore(resumed, kept, ImageBatchGenerateOperator.template_fields)

    assert BatchArguments.of(resumed).most_failures(10) == read.most_failures(10)


@pytest.mark.parametrize("timeout", [None, "None", 60, 60.5, "60", timedelta(seconds=60)], ids=repr)
def test_no_timeout_stays_no_timeout(timeout):
    read = ImageArguments.of(one(timeout=timeout))
    resumed = one(timeout=5)

    restore(resumed, with_arguments({}, read.as_json()), ImageGenerateOperator.template_fields)

    assert ImageArguments.of(resumed).timeout == read.timeout


@pytest.mark.parametrize(
    "kept", [None, {}, {"nonce": "1"}, {"arguments": None}, {"arguments": ["prompt"]}, "x"]
)
def test_a_deferral_without_arguments_leaves_the_operators_own(kept):
    resumed = one(prompt="Own")

    assert restore(resumed, kept, ImageGenerateOperator.template_fields) == kept
    assert resumed.prompt == "Own"


def test_arguments_that_another_version_does_not_know_are_left_out():
    resumed = one(prompt="Own")

    restore(
        resumed,
        {"arguments": {"later": 1, "retries": 9, "execute": 2}},
        ImageGenerateOperator.template_fields,
    )

    assert not hasattr(resumed, "later")
    assert resumed.retries != 9
    assert callable(resumed.execute)


class Late(ImageGenerateOperator):
    """Knows what to ask for when it is executed, as many people's subclasses do."""

    late: dict[str, Any]

    def execute(self, context: Any) -> Any:
        for name, value in self.late.items():
            setattr(self, name, value)
        return super().execute(context)


def played_late(scene: Any, **late: Any) -> Any:
    def fresh() -> Any:
        scene.operator = Late(task_id="hero", retries=scene.retries, **scene.arguments)
        scene.operator.late = late
        return scene.operator

    scene._fresh = fresh
    return scene.play()


@deferred
@all_homes
@pytest.mark.parametrize(
    "late",
    [
        {"prompt": "A blue ball"},
        {"model": "gpt-image-2"},
        {"seed": 7},
        {"image_size": {"width": 32, "height": 16}},
        {"model_params": {"output_format": "png"}},
        {"validate": "off", "model_params": {"output_fromat": "png"}},
        {"target_namespace": "local-org"},
        {"timeout": None},
    ],
    ids=lambda late: "-".join(late),
)
def test_what_a_subclass_asks_for_in_execute_is_what_it_gets(scene, late):
    played = played_late(scene, **late)

    assert paid_once(scene, played)
    [paid] = scene.hub.ledger()
    assert "changed while this task waited" not in scene.logged
    for name in {"prompt", "model", "seed"} & late.keys():
        assert paid["request"][name] == late[name]
    if scene.home == "file":
        sidecar = json.loads((scene.out / "cube.json").read_text())
        assert sidecar["request"]["prompt"] == paid["request"]["prompt"]
        assert sidecar["request"]["model"] == paid["request"]["model"]


@deferred
@with_record
def test_a_place_that_a_subclass_names_in_execute_gets_the_image(scene, tmp_path):
    played = played_late(scene, storage_path=f"{tmp_path}/late/hero")

    assert played.state == "success", played.error
    assert (scene.paid, scene.sent) == (1, 1)
    assert Path(played.image["path"]).parent == tmp_path / "late"
    assert sorted(path.suffix for path in (tmp_path / "late").iterdir()) == [".json", ".webp"]


@deferred
@pytest.mark.parametrize("home", ["none"])
def test_a_form_that_a_subclass_names_in_execute_is_the_results(scene):
    played = played_late(scene, response_format="b64_json")

    assert paid_once(scene, played)
    assert "b64_json" in played.image


@deferred
@with_record
def test_a_connection_that_a_subclass_names_in_execute_is_asked(scene, monkeypatch):
    import os

    monkeypatch.setenv("AIRFLOW_CONN_LATE", os.environ["AIRFLOW_CONN_OXEN_DEFAULT"])
    scene.arguments["oxen_conn_id"] = "nowhere"

    assert paid_once(scene, played_late(scene, oxen_conn_id="late"))


@deferred
@with_record
@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "Another"},
        {"model": SEEDLESS},
        {"deferrable": False, "use_queue": False},
        {"storage_path": "no path at all"},
        {"max_cost": "dear"},
        {"oxen_conn_id": "nowhere"},
        {"timeout": 0.001},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_a_dag_file_that_changes_while_a_task_waits_changes_nothing_for_it(scene, changed):
    finish = scene.deferring
    scene.deferring = lambda: (finish(), scene.arguments.update(changed))

    played = scene.play()

    assert paid_once(scene, played)
    assert "changed while this task waited" not in scene.logged


@deferred
@with_record
def test_a_deferral_of_an_earlier_version_goes_on_with_the_operators_arguments(scene, monkeypatch):
    monkeypatch.setattr(
        "airflow_provider_oxen.tasks.deferral.with_arguments", lambda kept, arguments: dict(kept)
    )

    assert paid_once(scene, scene.play())


@deferred
@with_record
def test_arguments_that_were_damaged_meanwhile_stop_the_task_without_spending(scene, monkeypatch):
    monkeypatch.setattr(
        "airflow_provider_oxen.tasks.deferral.with_arguments",
        lambda kept, arguments: {**kept, "arguments": {**arguments, "max_bytes": "many"}},
    )

    message = stopped(scene, scene.play(), sent=1)

    assert "max_bytes must be an integer" in message
    assert "may have been paid for" in message


@pytest.fixture
def batch(cast_batch: Any) -> Any:
    return cast_batch()


@deferred
@pytest.mark.parametrize(
    "changed",
    [
        {"storage_path": "/nowhere/at/all"},
        {"model": SEEDLESS},
        {"max_in_flight": "too many"},
        {"prompts": ["Another"]},
        {"max_cost": 0.0000001},
        {"oxen_conn_id": "nowhere"},
        {"use_queue": False, "deferrable": False},
        {"timeout": 0.001},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_a_dag_file_that_changes_while_a_batch_waits_changes_nothing_for_it(batch, changed):
    finish = batch.deferring
    batch.deferring = lambda: (finish(), batch.arguments.update(changed))

    played = batch.play()

    assert all_kept(batch, played)


@deferred
def test_a_deferral_of_an_earlier_version_goes_on_with_the_batchs_arguments(batch, monkeypatch):
    monkeypatch.setattr(
        "airflow_provider_oxen.batch.deferral.with_arguments", lambda kept, arguments: dict(kept)
    )

    assert all_kept(batch, batch.play())


@pytest.mark.parametrize(
    "value",
    [{1, 2}, Path("/x"), timedelta(1), object(), b"x", float("nan")],
    ids=lambda value: type(value).__name__,
)
def test_a_batchs_default_that_is_no_json_is_named_before_anything_is_spent(value):
    from airflow_provider_oxen.api.errors import OxenInvalidRequest

    with pytest.raises(OxenInvalidRequest, match=r"JSON: model_params\['strength'\] is"):
        BatchArguments.of(many(model=MODEL, model_params={"strength": value}))
