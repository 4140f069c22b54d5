"""``@task.oxen_image`` on real Airflow, against a hub over a real socket."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_oxen.localhub import Fault

from ..conftest import ROOT
from .conftest import START, asset_table, load_dags

ASKED: dict[str, Any] = {"model": "z-image-turbo", "poll_interval": 0.05, "lookup_grace": 0.2}
SOON = {"retry_delay": timedelta(milliseconds=10)}

both = pytest.mark.parametrize("deferrable", [False, True], ids=["polled", "deferred"])


class Counted:
    """A function that asks for another image each time it is called.

    :ivar calls: how often it was.
    """

    def __init__(self, shape: Callable[[str], Any] = str) -> None:
        self.calls = 0
        self._shape = shape

    def __call__(self) -> Any:
        self.calls += 1
        return self._shape(f"Cube number {self.calls}")


def dag_of(function: Callable[[], Any], folder: Path, **arguments: Any) -> DAG:
    with DAG("functions", schedule=None, start_date=START, default_args=SOON) as dag:

        @task.oxen_image(**{"storage_path": f"{folder}/", **ASKED, **arguments})
        def hero() -> Any:
            return function()

        hero()
    return dag


def prompts(hub: Any) -> list[str]:
    """Return what was paid for."""
    return sorted(paid["request"]["prompt"] for paid in hub.ledger())


def test_a_prompt_is_made_of_the_context_and_of_what_another_task_says(connected, run_dag, tmp_path):
    with DAG("functions", schedule=None, start_date=START) as dag:

        @task
        def topic() -> str:
            return "A fox {{ run_id }}"

        @task.oxen_image(storage_path=f"{tmp_path}/{{{{ ds }}}}/", seed="{{ 40 + 2 }}", **ASKED)
        def hero(topic: str, mood: str, ds: Any = None, **context: Any) -> str:
            return f"{topic}, {mood}, {ds}, by {context['ti'].task_id}"

        drawing: Any = hero
        drawing(topic(), mood="on {{ ds }}")

    run = run_dag(dag)

    assert run.state == "success"
    [image] = run.xcom("hero")["images"]
    day = Path(image["path"]).parent.name
    # What an argument says is rendered, as every task's is; what another task or the function says is not.
    assert prompts(connected) == [f"A fox {{{{ run_id }}}}, on {day}, {day}, by hero"]
    assert connected.ledger()[0]["request"]["seed"] == 42
    assert "cannot be called outside" not in run.log


@both
def test_one_image_is_asked_for_by_one_call(connected, run_dag, tmp_path, deferrable):
    connected.settings.latency = 0.3
    function = Counted()

    run = run_dag(dag_of(function, tmp_path, deferrable=deferrable, use_queue=True))

    assert run.state == "success"
    assert function.calls == 1
    assert prompts(connected) == ["Cube number 1"]
    assert run.xcom("hero")["generation_id"] == connected.ledger()[0]["generation_id"]
    assert "changed while this task waited" not in run.log


@both
def test_a_batch_is_asked_for_by_one_call(connected, run_dag, tmp_path, deferrable):
    connected.settings.latency = 0.3
    function = Counted(
        lambda text: [f"{text} a", {"prompt": f"{text} b", "id": "b", "output_format": "webp"}]
    )

    run = run_dag(dag_of(function, tmp_path, deferrable=deferrable, max_cost="{{ 1 }}", max_in_flight=2))

    assert run.state == "success"
    assert function.calls == 1
    assert prompts(connected) == ["Cube number 1 a", "Cube number 1 b"]
    result = run.xcom("hero")
    lines = [json.loads(line) for line in Path(result["manifest"]).read_text().splitlines()]
    assert [line["prompt"] for line in lines] == ["Cube number 1 a", "Cube number 1 b"]
    assert lines[1]["path"] == f"{tmp_path}/b.webp"
    assert (result["generated"], result["failed"]) == (2, 0)


@both
def test_mapped_functions_have_an_image_each(connected, run_dag, tmp_path, deferrable):
    connected.settings.latency = 0.3
    calls: list[str] = []
    model = {"model": ASKED["model"]}
    with DAG("functions", schedule=None, start_date=START, default_args=model) as dag:

        @task
        def things() -> list[str]:
            return ["fox", "whale"]

        @task.oxen_image(poll_interval=0.05, lookup_grace=0.2, storage_path=f"{tmp_path}/")
        def hero(thing: str, mood: str) -> dict[str, Any]:
            calls.append(thing)
            return {"prompt": f"A {mood} {thing}", "seed": len(thing)}

        hero.override(deferrable=deferrable).partial(mood="happy").expand(thing=things())

    run = run_dag(dag)

    assert run.state == "success"
    assert sorted(calls) == ["fox", "whale"]
    assert prompts(connected) == ["A happy fox", "A happy whale"]
    assert [run.xcom("hero", index)["seed"] for index in (0, 1)] == [3, 5]


@both
@pytest.mark.parametrize(
    "shape", [lambda text: {"prompt": "A cube"}, lambda text: ["A cube"]], ids=["one", "many"]
)
def test_a_retry_after_lost_answers_pays_once(connected, run_dag, tmp_path, shape, deferrable):
    connected.fail(Fault("drop_before", on="enqueue"), Fault("drop_after", on="enqueue"))
    function = Counted(shape)

    run = run_dag(dag_of(function, tmp_path, deferrable=deferrable, use_queue=True, retries=1))

    assert run.state == "success"
    assert function.calls == 2
    assert prompts(connected) == ["A cube"]


@pytest.mark.parametrize(("on_changed_request", "state"), [("fail", "failed"), ("submit", "success")])
def test_a_retry_calls_the_function_again_and_what_it_changed_is_not_paid_for_unasked(
    connected, run_dag, tmp_path, on_changed_request, state
):
    # Longer than the test: the first try gives up, and the job goes on.
    connected.settings.latency = 600
    function = Counted()

    def hurry() -> str:
        # The second try's job is done at once.
        connected.settings.latency = 600 if function.calls == 0 else 0
        return function()

    dag = dag_of(
        hurry,
        tmp_path,
        use_queue=True,
        timeout=0.2,
        retries=1,
        on_changed_request=on_changed_request,
    )

    run = run_dag(dag)

    assert run.state == state
    assert function.calls == 2
    asked = [job["request"]["prompt"] for job in connected.jobs()]
    assert asked == ["Cube number 1", "Cube number 2"][: 1 if state == "failed" else 2]
    assert ("OxenChangedRequest" in run.log) == (state == "failed")


def test_a_batch_tells_the_asset_its_counts(connected, run_dag, tmp_path):
    where = f"file://{tmp_path}/manifest.jsonl"
    function = Counted(lambda text: [text])

    run = run_dag(dag_of(function, tmp_path, outlets=[Asset(where)]))

    assert run.state == "success"
    [told] = events_of(where)
    assert told["oxen"]["generated"] == 1


def test_the_documentations_dag_runs_as_written(connected, run_dag, tmp_path):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "decorators.md").read_text(), re.DOTALL)[0]
    code = code.replace("s3://bucket/", f"{tmp_path}/").replace('storage_conn_id="aws_default",', "")
    if airflow.__version__.startswith("2."):
        code = code.replace("from airflow.sdk import dag", "from airflow.decorators import dag")
    (tmp_path / "pictures.py").write_text(code)

    run = run_dag(load_dags(tmp_path / "pictures.py")["pictures"])

    assert run.state == "success"
    assert Path(run.xcom("look")).is_relative_to(tmp_path / "town")
    [prompt] = prompts(connected)
    assert prompt.endswith(", light rain, watercolour")


def events_of(uri: str) -> list[dict[str, Any]]:
    """Return what the events of an asset tell."""
    from airflow.utils.session import create_session

    Event, Model = asset_table("Event"), asset_table("Model")
    key = "asset_id" if hasattr(Event, "asset_id") else "dataset_id"
    with create_session() as session:
        found = session.query(Event).join(Model, getattr(Event, key) == Model.id).filter(Model.uri == uri)
        return [dict(event.extra) for event in found]


@pytest.mark.parametrize(
    ("returned", "arguments", "said"),
    [
        ("A cube", {"max_in_flight": 4}, "one prompt, and max_in_flight can be set for a list of them only"),
        (
            ["A cube"],
            {"target_repo": "a/b"},
            "which is a batch, and target_repo can be set for one image only",
        ),
        (None, {}, "is not a prompt, a mapping that holds one, or a list of them, but nothing (null)"),
        (["A cube"], {"storage_path": "{{ none }}"}, "needs a storage_path"),
    ],
)
def test_what_does_not_fit_fails_at_once_and_asks_the_hub_nothing(
    connected, run_dag, tmp_path, returned, arguments, said
):
    function = Counted(lambda text: returned)

    run = run_dag(dag_of(function, tmp_path, retries=2, **arguments))

    assert run.state == "failed"
    assert said in run.log
    assert function.calls == 1
    assert connected.requests() == []


def test_what_the_function_raises_is_the_tasks_and_retried(connected, run_dag, tmp_path):
    numbers = itertools.count()

    def fails(text: str) -> str:
        if next(numbers) == 0:
            raise LookupError("the catalogue is away")
        return text

    run = run_dag(dag_of(Counted(fails), tmp_path, retries=1))

    assert run.state == "success"
    assert "LookupError: the catalogue is away" in run.log
    assert prompts(connected) == ["Cube number 2"]
