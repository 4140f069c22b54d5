"""What is played through the door: the hook, the operators, the sensors and the triggers of the provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_oxen.api import calls, queue
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.errors import (
    OxenAuthenticationError,
    OxenCreditsError,
    OxenError,
    OxenGenerationNotFound,
    OxenInvalidRequest,
    OxenModelNotFound,
)
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.catalogue.readiness import prove_key
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.localhub import Fault, LocalHub
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor
from airflow_provider_oxen.triggers.generation_events import OxenGenerationEventTrigger
from tests.integration.conftest import register

MODEL = "z-image-turbo"
START = datetime(2026, 1, 1)
QUICK: dict[str, Any] = {"poll_interval": 0.1, "lookup_grace": 0.2}
REQUEST: dict[str, Any] = {"model": MODEL, "prompt": "A red cube", **QUICK}


class Stage(NamedTuple):
    """Where a play takes place.

    :ivar home: a folder of its own, which is empty.
    """

    hub: LocalHub
    home: Path


class Play(NamedTuple):
    """One use of the provider; it raises where that goes wrong.

    :ivar lost: how many answers of the hub never come.
    """

    name: str
    run: Callable[[Stage], None]
    lost: int = 0


def hook_generates(stage: Stage) -> None:
    hook = OxenHook()
    answer = hook.generate_image(
        "A red cube", MODEL, seed=1, num_inference_steps=4, model_params={"output_format": "png"}
    )
    hook.download(answer.images[0], stage.home / "url.png")
    answer = hook.generate_image(
        "A red cube", MODEL, response_format="b64_json", target_namespace="local-org"
    )
    hook.download(answer.images[0], stage.home / "inline.png")
    sized = {"width": 64, "height": 64}
    assert asyncio.run(hook.agenerate_image("A red cube", "qwen-image", image_size=sized)).images


def hook_reads(stage: Stage) -> None:
    hook = OxenHook()
    assert hook.test_connection()[0]
    assert {model.id for model in hook.list_models(search="turbo")} == {MODEL}
    for model in hook.list_models(output=None):
        assert hook.get_model(model.id) == model
    with hook.get_conn() as client:
        assert client.send(calls.get_priced_model(MODEL)).pricing
        unsuspended(prove_key(client))


def hook_follows_a_generation(stage: Stage) -> None:
    hook = OxenHook()
    stage.hub.settings.latency = 3600
    id = _enqueue(seed=None, target_namespace="local-org", target_repo="art", target_directory="cubes")
    assert hook.get_generation(id).status == "processing"
    with hook.get_conn() as client:
        assert [row.generation_id for row in client.send(queue.list_queue("local-org"))] == [id]
        assert client.send(queue.list_history("local-org")).generations
        assert client.send(queue.get_history(id)).charged is None
    hook.cancel_generation(id)
    assert hook.get_generation(id).status == "cancelled"


def errors_are_typed(stage: Stage) -> None:
    hook, unknown = OxenHook(), "00000000-0000-4000-8000-000000000000"
    _raises(OxenModelNotFound, lambda: hook.get_model("nothing/of the sort?"))
    _raises(OxenModelNotFound, lambda: hook.generate_image("A red cube", "nothing-of-the-sort"))
    _raises(OxenInvalidRequest, lambda: hook.generate_image(" ", MODEL))
    _raises(OxenGenerationNotFound, lambda: hook.get_generation(unknown))
    _raises(OxenGenerationNotFound, lambda: hook.cancel_generation(unknown))
    _raises(OxenAuthenticationError, lambda: OxenHook("wrong_key").get_generation(unknown))
    assert not OxenHook("wrong_key").test_connection()[0]
    stage.hub.settings.credits = 0.0
    _raises(OxenCreditsError, lambda: hook.generate_image("A red cube", MODEL))


def image(**arguments: Any) -> Callable[[Stage], None]:
    """Return a play of one image that is kept."""

    def run(stage: Stage) -> None:
        stage.hub.settings.latency = 0.3
        with _dag() as dag:
            ImageGenerateOperator(
                task_id="image",
                **REQUEST | {"storage_path": f"{stage.home}/", **arguments},
            )
        _succeed(dag, stage)
        assert len(stage.hub.ledger()) == 1
        assert len(list(stage.home.iterdir())) == 2

    return run


def lost_answer(**arguments: Any) -> Callable[[Stage], None]:
    """Return a play of an image whose answer never came: it is looked for in both lists."""

    def run(stage: Stage) -> None:
        stage.hub.fail(Fault("drop_after", on="enqueue"))
        image(**arguments)(stage)

    return run


def batch(**arguments: Any) -> Callable[[Stage], None]:
    """Return a play of a batch."""

    def run(stage: Stage) -> None:
        stage.hub.settings.latency = 0.3
        rows = [{"id": f"row-{number}", "prompt": f"Cube {number}"} for number in range(6)]
        with _dag() as dag:
            ImageBatchGenerateOperator(
                task_id="batch",
                **{"model": MODEL, "prompts": rows, "storage_path": f"{stage.home}/", **QUICK} | arguments,
            )
        _succeed(dag, stage)
        assert len(stage.hub.ledger()) == len(rows)

    return run


def model_sensor(**arguments: Any) -> Callable[[Stage], None]:
    """Return a play of the wait for a model whose deployment comes to be active."""

    def run(stage: Stage) -> None:
        sleeping = "local-user-brand-style"
        entry = next(entry for entry in stage.hub.settings.catalogue if entry["id"] == sleeping)
        with _dag() as dag:
            OxenModelSensor(
                task_id="ready",
                model=sleeping,
                parameters={"seed": 1},
                poke_interval=0.1,
                timeout=60,
                **arguments,
            )
        # The first look, which is repeated once, finds nothing.
        stage.hub.fail(Fault("status", on="model", status=503, times=2))
        entry["deployments"] = [{"status": "active"}]
        _succeed(dag, stage)

    return run


def generation_sensor(**arguments: Any) -> Callable[[Stage], None]:
    """Return a play of the wait for a generation."""

    def run(stage: Stage) -> None:
        stage.hub.settings.latency = 1.0
        id = _enqueue()
        with _dag() as dag:
            OxenGenerationSensor(task_id="done", generation_id=id, poke_interval=0.1, timeout=60, **arguments)
        _succeed(dag, stage)

    return run


def event_trigger(stage: Stage) -> None:
    """One generation has ended before, the other ends while it is listened."""

    async def first(number: int) -> set[str]:
        told = set()
        async for event in OxenGenerationEventTrigger(lookback=600).run():
            told.add(event.payload["generation_id"])
            if len(told) == 1:
                ids.append(await asyncio.to_thread(_enqueue))
            if len(told) == number:
                break
        return told

    ids = [_enqueue()]
    assert asyncio.run(asyncio.wait_for(first(2), 60)) == set(ids)


def _modes(
    name: str, play: Callable[..., Callable[[Stage], None]], *, lost: int = 0, **modes: dict[str, Any]
) -> list[Play]:
    return [Play(f"{name}, {mode}", play(**arguments), lost) for mode, arguments in modes.items()]


PLAYS = [
    Play("hook: generate, download", hook_generates),
    Play("hook: catalogue, connection", hook_reads),
    Play("hook: follow, cancel", hook_follows_a_generation),
    Play("hook: errors", errors_are_typed),
    *_modes(
        "image",
        image,
        sync={"use_queue": False, "max_cost": 0.5},
        inline={"use_queue": False, "response_format": "b64_json", "seed": 7},
        queue={"use_queue": True, "max_cost": "0.5", "model_params": {"output_format": "jpg"}},
        deferrable={"deferrable": True, "num_inference_steps": 4},
        namespace={"deferrable": True, "target_namespace": "local-org"},
        sized={"use_queue": True, "model": "qwen-image", "image_size": "square"},
    ),
    *_modes("lost answer", lost_answer, lost=1, queue={"use_queue": True}, deferrable={"deferrable": True}),
    *_modes(
        "batch",
        batch,
        sync={"use_queue": False},
        queue={"max_cost": 0.5},
        deferrable={"deferrable": True},
    ),
    *_modes("model sensor", model_sensor, poke={}, deferrable={"deferrable": True}),
    *_modes("generation sensor", generation_sensor, poke={}, deferrable={"deferrable": True}),
    Play("event trigger", event_trigger),
]


def _dag() -> DAG:
    soon = {"retries": 1, "retry_delay": timedelta(milliseconds=10)}
    return DAG("contract", schedule=None, start_date=START, default_args=soon)


def _succeed(dag: DAG, stage: Stage) -> None:
    dag.dag_id = f"contract_{stage.home.name}"
    register(dag)
    state = dag.test().state
    assert str(getattr(state, "value", state)) == "success", f"the Dag run is {state}"


def _enqueue(**parameters: Any) -> str:
    body = {"model": MODEL, "prompt": "A red cube", "seed": int(time.time()) % 10_000, **parameters}
    request = GenerateRequest.model_validate(body)
    with OxenHook().get_conn() as client:
        return client.send(queue.enqueue(request))[0].generation_id


def _raises(kind: type[OxenError], act: Callable[[], Any]) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
