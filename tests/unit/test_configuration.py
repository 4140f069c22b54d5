"""Site-wide defaults: what ``[oxen]`` may say, what goes before it, and how a wrong value is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowConfigException

from airflow_provider_oxen import configuration
from airflow_provider_oxen.jobs.arguments import given
from airflow_provider_oxen.provider_info import CONFIG
from airflow_provider_oxen.sensors.models import OxenModelSensor
from airflow_provider_oxen.tasks.arguments import ImageArguments

from ..conftest import ROOT

OPTIONS = CONFIG["oxen"]["options"]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


@pytest.fixture
def set_to(monkeypatch):
    """Set an option as a deployment does, in the environment."""

    def set_to(option: str, value: str, section: str = "oxen") -> None:
        monkeypatch.setenv(f"AIRFLOW__{section.upper()}__{option.upper()}", value)

    return set_to


def read(option: str) -> Any:
    return getattr(configuration, option)()


@pytest.mark.parametrize(
    ("option", "value"),
    {
        "deferrable": False,
        "previews": True,
        "max_cost": None,
        "storage_path": None,
        "view_originals": (),
    }.items(),
)
@pytest.mark.parametrize("empty", [None, "", " "])
def test_an_option_that_is_not_set_has_its_default(set_to, option, value, empty):
    if empty is not None:
        set_to(option, empty)

    assert read(option) == value


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("deferrable", "True", True),
        ("deferrable", "0", False),
        ("previews", "false  # nobody looks", False),
        ("max_cost", "5", 5.0),
        ("max_cost", " 0.25 ", 0.25),
        ("storage_path", "s3://bucket/{{ ds }}/", "s3://bucket/{{ ds }}/"),
        ("view_originals", "s3://bucket/a/, /data/b/,", ("s3://bucket/a/", "/data/b/")),
    ],
)
def test_an_option_is_read_from_the_environment(set_to, option, text, value):
    set_to(option, text)

    assert read(option) == value


@pytest.mark.parametrize(
    ("option", "text", "rule"),
    [
        ("deferrable", "yes", "must be True or False, not 'yes'"),
        ("previews", "2", "must be True or False, not '2'"),
        ("max_cost", "$5", "must be a number of USD above 0, such as 5 or 0.5, not '$5'"),
        ("max_cost", "0", "above 0"),
        ("max_cost", "-1", "above 0"),
        ("max_cost", "nan", "above 0"),
        ("max_cost", "inf", "above 0"),
        ("storage_path", "s3://user:secret@bucket/a.png", "must be a folder that ends in /"),
        ("view_originals", "s3://user:secret@bucket/a/,s3://bucket", "each of which ends in /"),
    ],
)
def test_a_wrong_value_is_told_with_section_and_option(set_to, option, text, rule):
    set_to(option, text)

    with pytest.raises(AirflowConfigException) as raised:
        read(option)

    assert str(raised.value).startswith(f"[oxen] {option} in Airflow's configuration must be")
    assert rule in str(raised.value)
    assert f"AIRFLOW__OXEN__{option.upper()}" in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(("own", "wins"), [("False", False), ("True", True), ("", True)])
def test_own_deferrable_goes_before_airflows(set_to, own, wins):
    set_to("default_deferrable", "True" if own != "True" else "False", "operators")
    set_to("deferrable", own)

    assert configuration.deferrable() is wins


@pytest.mark.parametrize(("given", "found"), [(None, True), (False, False)])
def test_a_sensor_takes_it_where_its_task_says_nothing(set_to, given, found):
    set_to("deferrable", "True")

    assert OxenModelSensor(task_id="ready", model="x", deferrable=given).deferrable is found


def test_a_template_that_says_nothing_of_previews_leaves_the_sites_default(set_to):
    set_to("previews", "False")
    asked = {"prompt": "A cube", "model": "x", "deferrable": False, "previews": "None"}

    assert ImageArguments.read(asked).previews is False
    assert ImageArguments.read({**asked, "previews": "True"}).previews is True


PLAY = """
import json
from airflow.providers.common.compat.sdk import DAG, task
from datetime import datetime
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator as Many
from airflow_provider_oxen.operators.images import ImageGenerateOperator as One
NAMES = ("deferrable", "previews", "max_cost", "storage_path")
told = lambda operator: {name: getattr(operator, name) for name in NAMES}
none = {"max_cost": None, "storage_path": None}
one, many = {"prompt": "A cube", "model": "x"}, {"prompts": ["A cube"]}
with DAG("d", schedule=None, start_date=datetime(2026, 1, 1), default_args={"max_cost": 7}) as dag:
    of_dag = One(task_id="of_dag", **one)
@task.oxen_image(model="x")
def drawn():
    return "A cube"
@task.oxen_image(model="x", **none)
def drawn_without():
    return "A cube"
with DAG("e", schedule=None, start_date=datetime(2026, 1, 1)):
    drawn(), drawn_without()
    from_functions = {"drawn": drawn().operator, "drawn_without": drawn_without().operator}
print(json.dumps({
    "one": told(One(task_id="one", **one)),
    "many": told(Many(task_id="many", **many)),
    "one_without": told(One(task_id="one_without", **one, **none)),
    "of_dag": told(of_dag),
    **{name: told(operator) for name, operator in from_functions.items()},
}))
"""
"""A Dag file: the signatures have their defaults when it is parsed, so each setting takes a new process."""


def parse(tmp_path: Path, code: str, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__OXEN")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**clean, "AIRFLOW_HOME": str(tmp_path), **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


SITE = {
    "deferrable": "True",
    "previews": "False",
    "max_cost": "0.5",
    "storage_path": "s3://bucket/{{ task.task_id }}/",
}
HELD = {**SITE, "deferrable": True, "previews": False, "max_cost": 0.5}


@pytest.mark.parametrize("where", ["environment", "airflow.cfg"])
def test_they_are_the_defaults_of_every_face(tmp_path, where):
    if where == "environment":
        settings = {f"AIRFLOW__OXEN__{option.upper()}": value for option, value in SITE.items()}
    else:
        settings = {}
        lines = [f"{option} = {value}\n" for option, value in SITE.items()]
        (tmp_path / "airflow.cfg").write_text(f"[oxen]\n{''.join(lines)}")

    done = parse(tmp_path, PLAY, **settings)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    without = {**HELD, "max_cost": None, "storage_path": None}
    assert told == {
        "one": HELD,
        "many": HELD,
        "one_without": without,
        "of_dag": {**HELD, "max_cost": 7},
        "drawn": HELD,
        "drawn_without": without,
    }


def test_a_batch_without_a_folder_is_missed_when_the_dag_file_is_parsed(tmp_path):
    code = (
        "from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator as Many\n"
        "Many(task_id='many', prompts=['A cube'])"
    )

    assert "missing keyword argument 'storage_path'" in parse(tmp_path, code).stderr


@pytest.mark.parametrize("face", ["operators.images", "operators.batch", "decorators.images"])
def test_a_wrong_value_is_what_the_import_of_the_dag_file_fails_with(tmp_path, face):
    done = parse(tmp_path, f"import airflow_provider_oxen.{face}", AIRFLOW__OXEN__STORAGE_PATH="s3://bucket")

    assert "[oxen] storage_path in Airflow's configuration must be a folder" in done.stderr.splitlines()[-1]


def test_every_option_that_is_declared_is_read_and_every_other_way_round():
    assert set(OPTIONS) == {name for name in configuration.__all__ if name != "SECTION"}
    assert set(CONFIG) == {configuration.SECTION}


@pytest.mark.parametrize("option", OPTIONS)
def test_declared_default_and_example_are_taken(set_to, option):
    silent = read(option)

    set_to(option, given(OPTIONS[option]["default"], ""))
    assert read(option) == silent
    set_to(option, OPTIONS[option]["example"])
    assert read(option) != silent


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_on_its_page_with_both_ways_to_set_it(set_to, option):
    [cfg] = re.findall(r"```ini\n\[oxen\]\n(.*?)```", PAGE, re.DOTALL)
    [environment] = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    in_cfg = dict(line.split(" = ", 1) for line in cfg.splitlines())
    in_environment = tomllib.loads(
        "\n".join(
            f"{name} = '{value.strip(chr(39))}'"
            for name, value in (line.split("=", 1) for line in environment.splitlines())
        )
    )

    assert f"\n| `{option}` |" in PAGE
    assert in_environment[f"AIRFLOW__OXEN__{option.upper()}"] == in_cfg[option]
    set_to(option, in_cfg[option])
    read(option)
