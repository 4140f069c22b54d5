"""Mistakes of the second day: batches, refusals of the hub, stores, functions; and the line of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor

from .conftest import START
from .mistakes import FIRST, MODEL, SIZED, dag_of, one_line, teller  # noqa: F401
from .s3 import S3, bucket, server  # noqa: F401

NO_SUCH_ID = "7f1c3a2e-0000-4000-8000-000000000000"

AGAIN = "Nothing was spent by this try. It is safe to try again; Airflow's retries decide. "


def of_image(tmp_path: Path, **wrong: Any) -> Any:
    arguments = {"prompt": "A cube", "model": MODEL, "storage_path": f"{tmp_path}/", **wrong}
    return dag_of(ImageGenerateOperator, **arguments)


IMAGES: dict[str, tuple[dict[str, Any], str]] = {
    "`image_size` in `model_params`": (
        {"model": SIZED, "model_params": {"image_size": [1024]}},
        "must not hold 'image_size': the task has an argument for this, or sets it itself. Leave it out",
    ),
    "a negative `seed`": ({"seed": -1}, "seed must be an integer of at least 0, not -1."),
    "`response_format` misspelt": ({"response_format": "b64"}, "must be one of url, b64_json, not 'b64'."),
    "`validate` misspelt": ({"validate": "eror"}, "must be one of error, warn, off, not 'eror'."),
    "`overwrite` in words": ({"overwrite": "sure"}, "overwrite must be True or False, not 'sure'."),
    "`timeout` in words": (
        {"use_queue": True, "timeout": "1h"},
        "timeout must be a number of seconds above 0, not '1h'.",
    ),
    "too small a `max_cost`": (
        {"max_cost": 0.001},
        "The image would cost $0.01, and max_cost is $0.001. To allow it, raise max_cost.",
    ),
    "no place for the image": (
        {"storage_path": None, "do_xcom_push": False},
        "There is no place for the image",
    ),
    "`https://` as a folder": (
        {"storage_path": "https://example.com/images/"},
        "Give an absolute path, or a URL of s3://, gs:// or abfs://.",
    ),
    "a `storage_conn_id` that is not there": (
        {"storage_path": "s3://bucket/images/", "storage_conn_id": "aws_minio"},
        "connection 'aws_minio' is not defined: create it, or set storage_conn_id to another one.",
    ),
    "`model_params` as Python text": (
        {"model_params": "{'a': 1}"},
        "which is not JSON: render it with '| tojson'.",
    ),
}


@pytest.mark.parametrize("mistake", IMAGES)
def test_mistake_of_an_image_is_one_line(connected, run_dag, tmp_path, tell, mistake):
    wrong, said = IMAGES[mistake]

    line = one_line(run_dag(of_image(tmp_path, **wrong)).log)

    tell(mistake, line)
    assert line.startswith(FIRST)
    assert said in line
    assert connected.ledger() == []


CSV, LINES = "A red cube,42\nA blue ball,43\n", '{"prompt": "A cube"}\n{"prompt": \n'

BATCHES: dict[str, tuple[Any, str]] = {
    "a batch's row without text": (["A cube", ""], "\n  line 2: prompt must not be empty, as '' is\n"),
    "a batch's row that is null": (["A cube", None], "\n  line 2: is not a text or a mapping, but nothing"),
    "`promt` in a batch's row": (
        [{"promt": "x"}],
        "\n  line 1: there is no prompt, but 'promt': rename it\n",
    ),
    "one id twice in a batch": (
        [{"id": "a", "prompt": "x"}] * 2,
        "\n  line 2: line 1 has the id 'a' already\n",
    ),
    "CSV without a header": (CSV, "\n  line 1: has no column 'prompt', but 'A red cube, 42'\n"),
    "JSON Lines that are cut off": (LINES, "\n  line 2: is not JSON: "),
}


@pytest.mark.parametrize("mistake", BATCHES)
def test_mistake_of_a_batch_names_its_line(connected, run_dag, tmp_path, tell, mistake):
    prompts, said = BATCHES[mistake]
    if isinstance(prompts, str):
        file = tmp_path / f"prompts.{'csv' if prompts is CSV else 'jsonl'}"
        file.write_text(prompts)
        prompts = str(file)

    log = run_dag(
        dag_of(ImageBatchGenerateOperator, prompts=prompts, model=MODEL, storage_path=f"{tmp_path}/out/")
    ).log

    line = one_line(log)
    tell(mistake, line + said.replace("\n", " "))
    assert line.startswith(FIRST)
    assert f"{line}{said}" in log
    assert connected.ledger() == []


@pytest.mark.parametrize(
    ("mistake", "wrong", "said"),
    [
        ("prompts that are not there", {"prompts": "/no/such/prompts.csv"}, "there is no file /no/such/"),
        ("a prompt in place of a list", {"prompts": "A red cube"}, "Put a single prompt into a list."),
        ("a batch without prompts", {"prompts": []}, "prompts: the list holds no prompt."),
        (
            "a batch without a folder",
            {"storage_path": None},
            "needs a storage_path, the folder of its images",
        ),
    ],
)
def test_mistake_of_a_batch_is_one_line(connected, run_dag, tmp_path, tell, mistake, wrong, said):
    arguments = {"prompts": ["A cube"], "model": MODEL, "storage_path": f"{tmp_path}/out/", **wrong}

    line = one_line(run_dag(dag_of(ImageBatchGenerateOperator, **arguments)).log)

    tell(mistake, line)
    assert line.startswith(FIRST)
    assert said in line


@pytest.mark.parametrize(
    ("mistake", "returned", "said"),
    [
        ("a function that returns nothing", None, "is not a prompt, a mapping that holds one, or a list"),
        ("a function that returns `promt`", {"promt": "x"}, "there is no prompt, but 'promt': rename it."),
        ("a function that returns a list", [], "a list of prompts is a batch."),
    ],
)
def test_mistake_of_a_function_is_one_line(connected, run_dag, tell, mistake, returned, said):
    with DAG("mistaken", start_date=START, schedule=None) as dag:

        @task.oxen_image(model=MODEL)
        def hero() -> Any:
            return returned

        hero()

    line = one_line(run_dag(dag).log)

    tell(mistake, line)
    assert line.startswith(FIRST)
    assert said in line
    assert connected.ledger() == []


def test_template_that_renders_to_none(connected, run_dag, tmp_path, tell):
    with DAG("mistaken", start_date=START, schedule=None, render_template_as_native_obj=True) as dag:
        ImageGenerateOperator(
            task_id="hero",
            prompt="{{ params.subject }}",
            model=MODEL,
            storage_path=f"{tmp_path}/",
            params={"subject": None},
        )

    line = one_line(run_dag(dag).log)

    tell("a template that renders to None", line)
    assert line.startswith(FIRST)
    assert "prompt must be a text that says what to draw, not None." in line


REFUSALS: dict[str, tuple[Fault, str, str]] = {
    "too many requests": (
        Fault("status", status=429, times=None, headers={"Retry-After": "90"}),
        AGAIN,
        "It asks to wait 90 s. Send fewer requests at once: use a pool, or requests_per_minute of a batch.",
    ),
    "a hub that is being mended": (
        Fault("status", on="model", status=503, times=None),
        AGAIN,
        "The hub does not take requests now.",
    ),
    "a page in place of the hub": (
        Fault("html", on="model", times=None),
        AGAIN,
        "to look up the model 'z-image-turbo', but the body is not JSON (text/html).",
    ),
}


@pytest.mark.parametrize("mistake", REFUSALS)
def test_refusal_of_the_hub_is_one_line(connected, connect, run_dag, tmp_path, tell, mistake):
    fault, first, said = REFUSALS[mistake]
    connect(connected.url, connected.key, max_retries=0)
    connected.fail(fault)

    line = one_line(run_dag(of_image(tmp_path)).log)

    tell(mistake, line)
    assert line.startswith(first)
    assert said in line
    assert connected.ledger() == []


def test_account_without_credits(connected, run_dag, tmp_path, tell):
    connected.settings.credits = 0.0

    line = one_line(run_dag(of_image(tmp_path)).log)

    tell("no credits", line)
    assert line.startswith(FIRST)
    assert "Out of credits: top up the account that is billed. (HTTP 402, request id" in line


CONNECTIONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a wrong key": ({"key": "wrong-key-0123"}, FIRST, "The API key is missing or wrong"),
    "`Bearer` in the password": (
        {"key": "Bearer abcdefgh"},
        FIRST,
        "an API key has none. Change the Airflow",
    ),
    "an extra misspelt": ({"timeuot": 5}, FIRST, "Unknown extra field(s) 'timeuot' in the Oxen connection"),
    "an extra in words": ({"timeout": "soon"}, FIRST, "Change the Airflow connection 'oxen_default'."),
    "a host with a path": ({"host": "{url}/api/ai"}, FIRST, "must hold no path, but holds '/api/ai'"),
    "a proxy without scheme": ({"proxy": "127.0.0.1:1"}, FIRST, "must be a URL such as http://proxy"),
    "a proxy that is down": (
        {"host": "http://hub.example", "allow_http": True, "proxy": "http://127.0.0.1:1"},
        AGAIN,
        "Check the connection's host, and the network and proxy of this machine.",
    ),
    "a hub that is down": (
        {"host": "http://127.0.0.1:1"},
        AGAIN,
        "Connection refused. Check the connection's host, and the network and proxy of this machine.",
    ),
    "a CA bundle that is not there": (
        {"verify": "/no/such/ca.pem"},
        FIRST,
        "'/no/such/ca.pem', which the connection's extra verify names, cannot be read",
    ),
}


@pytest.mark.parametrize("deferrable", [False, True], ids=["at once", "deferrable"])
@pytest.mark.parametrize("mistake", CONNECTIONS)
def test_mistake_of_the_connection_is_one_line(
    connected, connect, run_dag, tmp_path, tell, mistake, deferrable
):
    wrong, first, said = CONNECTIONS[mistake]
    fields = {"host": "{url}", "key": connected.key, "max_retries": 0, **wrong}
    fields["host"] = fields["host"].format(url=connected.url)
    connect(fields.pop("host"), fields.pop("key"), **fields)

    line = one_line(run_dag(of_image(tmp_path, deferrable=deferrable)).log)

    if not deferrable:
        tell(mistake, line)
    assert line.startswith(first)
    assert said in line
    assert connected.ledger() == []


def test_bucket_that_is_not_there(connected, run_dag, s3, tell):
    arguments = {"storage_path": "s3://no-such-bucket/images/", "storage_conn_id": "aws_test"}
    dag = dag_of(ImageGenerateOperator, prompt="A cube", model=MODEL, **arguments)

    line = one_line(run_dag(dag).log)

    tell("a bucket that is not there", line)
    assert line.startswith(FIRST)
    assert "cannot be written to" in line
    assert "Give a folder or bucket that exists" in line
    assert connected.ledger() == []


SENSORS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a sensor's wrong parameter": (
        lambda: dag_of(OxenModelSensor, model=MODEL, parameters={"output_fromat": "png"}),
        FIRST,
        "Did you mean 'output_format'?",
    ),
    "a sensor without an id": (
        lambda: dag_of(OxenGenerationSensor, generation_id=None),
        FIRST,
        "generation_id must be a text, not None.",
    ),
    "a sensor's unknown id": (
        lambda: dag_of(OxenGenerationSensor, generation_id=NO_SUCH_ID),
        "An image may have been paid for. Not tried again. ",
        "Check its id, the key and the namespace.",
    ),
}


@pytest.mark.parametrize("mistake", SENSORS)
def test_mistake_of_a_sensor_is_one_line(connected, run_dag, tell, mistake):
    make, first, said = SENSORS[mistake]

    line = one_line(run_dag(make()).log)

    tell(mistake, line)
    assert line.startswith(first)
    assert said in line
