"""docs/recipes.md: every Dag runs against a local hub, an S3 server and a Slack on this machine."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator

from ..conftest import ROOT
from .conftest import Run, load_dags
from .s3 import CONN_ID, S3, bucket, server  # noqa: F401 - fixtures
from .slack import running_slack

PAGE = (ROOT / "docs" / "recipes.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DAGS = {name: code for code in BLOCKS for name in re.findall(r"\A# dags/(\w+)\.py\n", code)}
IS_3 = airflow.__version__ >= "3"
HAS_APPROVALS = IS_3 and find_spec("airflow.providers.standard") is not None
NEEDS_APPROVALS = pytest.mark.skipif(not HAS_APPROVALS, reason="this Airflow has no ApprovalOperator")


class Warehouse(DbApiHook):
    """A database that every Python has: the closure of Airflow 3 has no SQLite provider."""

    conn_name_attr = "warehouse_conn_id"
    path = ""

    def get_conn(self) -> Any:
        return sqlite3.connect(self.path)


@pytest.fixture
def recipe(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Load a recipe's Dag as it stands on the page: only the bucket and its connection are the test's."""
    [told] = re.findall(r"AIRFLOW_CONN_MINIO='(.*)'", PAGE)
    monkeypatch.setenv("AIRFLOW_CONN_MINIO", told.replace("http://minio:9000", s3.server.url))

    def recipe(name: str) -> Any:
        code = DAGS[name].replace("aws_default", CONN_ID).replace("s3://pictures/", f"s3://{s3.bucket}/")
        code = code.replace("@pictures/", f"@{s3.bucket}/")
        if not IS_3:
            code = code.replace("from airflow.sdk import", "from airflow.decorators import")
        (tmp_path / f"{name}.py").write_text(code)
        return load_dags(tmp_path / f"{name}.py")[name]

    return recipe


def states(run: Run) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in run.dag_run.get_task_instances()}


def images(s3: S3) -> list[str]:
    return sorted(key for key in s3.keys() if key.endswith(".webp"))  # noqa: SIM118 - its keys are a list


def test_every_block_of_python_is_a_recipe():
    assert len(DAGS) == len(BLOCKS) == 7


@pytest.mark.parametrize("name", [name for name in DAGS if name != "after_approval"])
def test_airflow_parses_it(recipe, name):
    assert recipe(name).dag_id == name


@NEEDS_APPROVALS
def test_airflow_parses_the_approval(recipe):
    assert recipe("after_approval").dag_id == "after_approval"


def test_minio_gets_the_image(connected, run_dag, recipe, s3):
    assert run_dag(recipe("to_minio")).state == "success"

    [image] = images(s3)
    assert image.startswith("hero/")
    assert len(connected.ledger()) == 1


def test_rows_of_a_query_become_images_once(connected, run_dag, recipe, s3, tmp_path, monkeypatch):
    Warehouse.path = str(tmp_path / "warehouse.db")
    with sqlite3.connect(Warehouse.path) as database:
        database.execute("CREATE TABLE products (sku TEXT, title TEXT, colour TEXT, image TEXT)")
        rows = [("a-1", "mug", "red", None), ("a-2", "lamp", "green", None), ("a-3", "vase", "blue", "there")]
        database.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", rows)
    database.close()
    monkeypatch.setattr(SQLExecuteQueryOperator, "get_db_hook", lambda self: Warehouse())

    for day in (1, 2):
        when = datetime(2026, 1, day, tzinfo=UTC)
        assert run_dag(recipe("from_warehouse"), **logical(when)).state == "success"

    assert images(s3) == ["products/a-1.webp", "products/a-2.webp"]
    assert sorted(entry["prompt"] for entry in connected.ledger()) == [
        "A green lamp on white, studio light",
        "A red mug on white, studio light",
    ]


def test_a_product_csv_becomes_images(connected, run_dag, recipe, s3):
    [text] = re.findall(r"```text\n(sku,.*?)```", PAGE, re.DOTALL)
    s3.put("products.csv", b"\xef\xbb\xbf" + text.encode())

    assert run_dag(recipe("product_csv")).state == "success"

    assert images(s3) == ["by-sku/1001.webp", "by-sku/1002.webp"]
    assert {"by-sku/manifest.jsonl", "by-sku/index.html"} <= set(s3.keys())
    assert connected.spent() == 0.02


def test_a_day_has_one_image_however_often_it_runs(connected, run_dag, recipe, s3):
    when = logical(datetime(2026, 3, 2, tzinfo=UTC))

    for _ in range(2):
        assert run_dag(recipe("one_a_day"), **when).state == "success"

    assert images(s3) == ["days/2026-03-02.webp"]
    [paid] = connected.ledger()
    assert paid["prompt"] == "The sea on Monday, 02 March, as a woodcut"


def test_slack_gets_the_image(connected, run_dag, recipe, s3, monkeypatch):
    with running_slack(monkeypatch) as slack:
        assert run_dag(recipe("to_slack")).state == "success"

    [image] = images(s3)
    [post] = slack.posted
    [file] = post["files"]
    content = s3.content(image)
    assert file == {
        "filename": image.rpartition("/")[2],
        "title": "Today's picture",
        "length": len(content),
        "content": content,
    }
    assert post["channel_id"] == "C0123456789"
    assert post["initial_comment"] == "Made by z-image-turbo for $0.01."


@NEEDS_APPROVALS
@pytest.mark.parametrize("answer", ["Approve", "Reject"])
def test_nothing_is_spent_before_a_person_approves(connected, run_dag, recipe, s3, monkeypatch, answer):
    hitl: Any = import_module("airflow.providers.standard.operators.hitl")
    asked = []

    def execute(self: Any, context: Any) -> Any:
        # In place of the person, who answers in the interface; what follows is the operator's own.
        asked.append((self.subject, self.body, connected.spent()))
        event: dict[str, Any] = {"chosen_options": [answer], "params_input": {}, "responded_by_user": None}
        self.execute_complete(context, event | {"responded_at": datetime.now(UTC)})

    monkeypatch.setattr(hitl.ApprovalOperator, "execute", execute)

    run = run_dag(recipe("after_approval"))

    assert asked == [("Generate these images?", "3 images of z-image-turbo: $0.03 at most.", 0)]
    approved = answer == "Approve"
    assert states(run)["pictures"] == ("success" if approved else "skipped")
    assert len(images(s3)) == len(connected.ledger()) == (3 if approved else 0)


def test_a_look_at_the_price_costs_nothing(connected, run_dag, recipe, s3):
    run = run_dag(recipe("after_a_look"))

    assert states(run) == {"approved": "success", "hero": "skipped"}
    assert "One image of z-image-turbo costs $0.01." in run.log
    assert connected.ledger() == []

    assert states(run_dag(recipe("after_a_look"), run_conf={"approved": True}))["hero"] == "success"
    assert images(s3) == ["looked-at/cube.webp"]


def logical(when: datetime) -> dict[str, Any]:
    """Return how this Airflow line is told a run's logical date."""
    return {"logical_date": when} if IS_3 else {"execution_date": when}


def test_the_minio_connection_is_json():
    [told] = re.findall(r"AIRFLOW_CONN_MINIO='(.*)'", PAGE)

    assert json.loads(told)["conn_type"] == "aws"
