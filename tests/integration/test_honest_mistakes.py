"""Twenty mistakes that anybody makes on the first day, and the one line that each prints."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.models import OxenModelSensor

from .conftest import START
from .mistakes import FIRST, MODEL, SIZED, dag_of, one_line, teller  # noqa: F401

try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a connection id that is not there": (
        {"oxen_conn_id": "oxen_defualt"},
        "connection 'oxen_defualt' is not defined: create it, or set oxen_conn_id to another one.",
    ),
    "`gs://` without its extra": (
        {"storage_path": "gs://bucket/images/"},
        "Install the driver: pip install 'apache-airflow-providers-google' 'gcsfs>=2024.12'.",
    ),
    "`model` misspelt": (
        {"model": "z-image-trubo"},
        "model 'z-image-trubo'. Check the model's name. Did you mean 'z-image-turbo'?",
    ),
    "a parameter misspelt": ({"model_params": {"output_fromat": "png"}}, "Did you mean 'output_format'?"),
    "`prompt=None`": ({"prompt": None}, "prompt must be a text that says what to draw, not None."),
    "a folder's path without its slash": ({"storage_path": "{tmp}"}, "is a folder, and does not end in '/'."),
    "a folder that cannot be written to": (
        {"storage_path": "/proc/images/"},
        "storage_path 'file:///proc/images' cannot be written to",
    ),
    "`~` in a path": (
        {"storage_path": "~/images/"},
        "begins with '~', which is another folder for",
    ),
    "a relative path": (
        {"storage_path": "images/"},
        "must be an absolute path, or a URL such as s3://bucket/",
    ),
    "`seed` as a word": ({"seed": "forty-two"}, "seed must be an integer of at least 0, not 'forty-two'."),
    "`image_size` as a tuple": (
        {"image_size": (1024, 768)},
        "must be a preset such as 'square_hd' or {'width': 1024, 'height': 1024}, not (1024, 768).",
    ),
    "`image_size` as a word": (
        {"image_size": "big", "model": SIZED},
        "'landscape_16_9'], or a mapping with width and height, not 'big'.",
    ),
    "a list for a mapping": (
        {"model_params": ["seed"]},
        "must map names to values, not ['seed'].",
    ),
    "`max_cost` in words": ({"max_cost": "five"}, "Write it in USD, as 5, 0.5 or '$5'."),
    "a template variable that is not there": ({"prompt": "{{ heroes }}"}, "'heroes' is undefined"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_line(connected, run_dag, tmp_path, tell, mistake):
    wrong, said = MISTAKES[mistake]
    wrong = {name: str(tmp_path) if value == "{tmp}" else value for name, value in wrong.items()}
    arguments = {"prompt": "A cube", "model": MODEL, "storage_path": f"{tmp_path}/", **wrong}

    run = run_dag(dag_of(ImageGenerateOperator, **arguments))

    line = one_line(run.log)
    tell(mistake, line)
    assert run.state == "failed"
    assert said in line
    assert line.startswith(FIRST) or "undefined" in line
    assert connected.ledger() == []


@pytest.mark.parametrize(
    ("mistake", "host", "key", "said"),
    [
        (
            "a connection without password",
            "{url}",
            None,
            "no password. Put the API key into its password field.",
        ),
        ("a host without scheme", "{bare}", "{key}", "write http:// before the host in the Oxen connection"),
        (
            "`http://` to a foreign host",
            "http://hub.example",
            "{key}",
            "would carry the key unencrypted.",
        ),
    ],
)
def test_connection_is_one_line(connected, connect, run_dag, tmp_path, tell, mistake, host, key, said):
    facts = {"url": connected.url, "bare": connected.url.partition("://")[2], "key": connected.key}
    connect(host.format(**facts), key and key.format(**facts))

    line = one_line(
        run_dag(dag_of(ImageGenerateOperator, prompt="A cube", model=MODEL, storage_path=f"{tmp_path}/")).log
    )

    tell(mistake, line)
    assert line.startswith(FIRST)
    assert said in line
    assert connected.ledger() == []


def test_two_tasks_and_one_file_are_told_by_their_names(connected, run_dag, tmp_path, tell):
    with DAG("twins", start_date=START, schedule=None) as dag:
        tasks = [
            ImageGenerateOperator(
                task_id=name, prompt=f"A {name}", model=MODEL, storage_path=f"{tmp_path}/hero.webp"
            )
            for name in ("cube", "ball")
        ]
        tasks[0] >> tasks[1]

    line = one_line(run_dag(dag).log)

    tell("two tasks and one file", line)
    assert line.startswith(FIRST)
    assert "describes the image of another request (Dag 'twins', task 'cube', run " in line
    assert "Choose another storage_path" in line
    assert len(connected.ledger()) == 1


def test_sensor_of_a_misspelt_model(connected, run_dag, tell):
    line = one_line(run_dag(dag_of(OxenModelSensor, model="z-image-trubo", fail_fast=True)).log)

    tell("a sensor's `model` misspelt", line)
    assert line.startswith(FIRST)
    assert "Did you mean 'z-image-turbo'?" in line


def test_sensor_that_waits_for_a_misspelt_model_says_so_at_the_first_look(connected, run_dag, tell):
    run = run_dag(dag_of(OxenModelSensor, model="z-image-trubo", timeout=0.01, poke_interval=0.01))

    said = "Model 'z-image-trubo' is not there yet: the hub does not know it. Did you mean 'z-image-turbo'?"
    assert said in run.log


def test_row_of_a_batch_with_a_misspelt_model(connected, run_dag, tmp_path, tell):
    prompts = [{"prompt": "A cube", "model": "z-image-trubo"}]
    line = one_line(
        run_dag(
            dag_of(ImageBatchGenerateOperator, prompts=prompts, model=MODEL, storage_path=f"{tmp_path}/")
        ).log
    )

    tell("a batch row's `model` misspelt", line)
    assert "Did you mean 'z-image-turbo'?" in line
    assert connected.ledger() == []


@pytest.mark.parametrize(
    ("mistake", "right"),
    [
        ("`max_cost` as `$5`", {"max_cost": "$5"}),
        ("`image_size` as `1024x768`", {"image_size": "1024x768", "model": SIZED}),
    ],
)
def test_what_only_looks_wrong_works(connected, run_dag, tmp_path, tell, mistake, right):
    run = run_dag(
        dag_of(
            ImageGenerateOperator,
            **{
                "prompt": "A cube",
                "model": MODEL,
                "storage_path": f"{tmp_path}/",
                "use_queue": True,
                **right,
            },
        )
    )

    assert run.state == "success"
    [line] = {found for found in re.findall(r"(Kept /.*? It cost \$[0-9.]*[0-9]\.)", run.log)}
    tell(f"{mistake} (works)", line)


@pytest.fixture
def no_triggerer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An API server whose page for monitoring says that no triggerer is running."""
    seen = "2026-01-01T00:00:00+00:00"
    health = {
        "metadatabase": {"status": "healthy"},
        "triggerer": {"status": "unhealthy", "latest_triggerer_heartbeat": seen},
    }

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v2/monitor/health"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(health).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/execution/"
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", url)
        yield
        server.shutdown()
        thread.join()


def test_no_triggerer(connected, run_dag, tmp_path, tell, no_triggerer):
    pytest.importorskip("airflow.sdk", reason="dag.test() of Airflow 2.11 has no job")
    run = run_dag(
        dag_of(
            ImageGenerateOperator, prompt="A cube", model=MODEL, storage_path=f"{tmp_path}/", deferrable=True
        )
    )

    said = "No triggerer is running (the last one was seen at 2026-01-01T00:00:00+00:00). "
    line = said + "This task stays deferred until one starts: run airflow triggerer."
    assert line in run.log
    tell("no triggerer", line)
    assert re.search(
        r"Waiting for generation \S+ in the triggerer. It was submitted at \S+ \S+ UTC; the timeout", run.log
    )
