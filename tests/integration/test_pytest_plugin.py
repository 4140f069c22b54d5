"""A user's own repository, tested with what the wheel brings: its package, its entry points, its fixtures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from .conftest import untraced

SAMPLE = ROOT / "tests" / "sample"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built wheel is installed, and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-qq", "--no-index", "--no-deps", "--target"]
    subprocess.run([*install, place / "site", wheel], check=True, capture_output=True)
    return place / "site"


def run(installed: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in untraced().items() if not name.startswith("AIRFLOW")}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=place,
        env={**clean, "PYTHONPATH": f"{installed}{os.pathsep}{place}"},
        capture_output=True,
        text=True,
    )


def blocks(page: str) -> dict[str, str]:
    """Return a page's code by the file name in its first line, as somebody saves it who follows the page."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return {match[1]: text for text in code if (match := re.match(r"# (\w+\.py)\b", text))}


def readmes_dag() -> str:
    """Return the README's Dag, as this Airflow line takes it."""
    [dag] = re.findall(
        r"```python\n([^`]*^def pictures\(\)[^`]*)```", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert dag.rstrip().endswith("\npictures()")
    assert "s3://" in dag
    assert "deferrable=True" in dag
    try:
        import airflow.sdk  # noqa: F401
    except ImportError:
        dag = dag.replace("from airflow.sdk import dag", "from airflow.decorators import dag")
    return dag


MAPPED = """
from datetime import datetime

from airflow.providers.common.compat.sdk import dag

from airflow_provider_oxen.operators.images import ImageGenerateOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1))
def mapped():
    ImageGenerateOperator.partial(
        task_id="hero", model="z-image-turbo", storage_path="s3://bucket/hero/"
    ).expand(prompt=["A red cube", "A blue cube"])


mapped()
"""
TEST_OF_MAPPED = """
from dags.mapped import mapped


def test_mapped(oxen_connection, tmp_path):
    dag = mapped()
    dag.get_task("hero").partial_kwargs["storage_path"] = f"{tmp_path}/"

    assert dag.test().state == "success"
    assert len(list(tmp_path.glob("*.webp"))) == len(oxen_connection.ledger()) == 2
"""
TEST_OF_ANOTHER_CONNECTION = """
import json
import os

import pytest


@pytest.fixture
def oxen_conn_id():
    return "oxen_other"


def test_it(oxen_connection):
    assert json.loads(os.environ["AIRFLOW_CONN_OXEN_OTHER"])["host"] == oxen_connection.url
"""


@pytest.fixture(scope="module")
def passed(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Follow the page in a user's repository: its files, the README's Dag, and what else it says.

    All in one, with one Airflow: starting one takes longer than all tests.

    :return: the tests that passed.
    """
    place = tmp_path_factory.mktemp("page") / "repository"
    shutil.copytree(SAMPLE, place)
    files = blocks("docs/testing-your-dags.md")
    dag, code = readmes_dag(), files["test_pictures.py"]
    in_a_variable = dag.replace("def pictures()", "def others()").rstrip().removesuffix("pictures()")
    of_a_variable = code.replace(
        "from dags.pictures import pictures", "from dags.others import dag as others"
    )
    files |= {
        "test_others.py": of_a_variable.replace("dag = pictures()", "dag = others"),
        "test_mapped.py": TEST_OF_MAPPED,
        "test_other_connection.py": TEST_OF_ANOTHER_CONNECTION,
        "test_origin.py": "import airflow_provider_oxen\n\n\ndef test_it_is_the_wheel():\n"
        f"    assert airflow_provider_oxen.__file__.startswith({str(installed)!r})\n",
    }
    dags = {"pictures.py": dag, "others.py": f"{in_a_variable}dag = others()\n", "mapped.py": MAPPED}
    for name, text in dags.items():
        (place / "dags" / name).write_text(text)
    for name, text in files.items():
        (place / name).write_text(text)
    # Of these tests with a Dag in a variable, one is enough.
    spared = ("test_one_image_is_paid_for_and_kept", "test_a_lost_answer_is_not_paid_for_twice")

    ran = run(installed, place, "-rp", *(f"--deselect=test_others.py::{name}" for name in spared))

    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    return re.findall(r"^PASSED (\S+)", ran.stdout, re.MULTILINE)


def test_a_users_own_tests_run_without_credits(passed):
    assert "test_origin.py::test_it_is_the_wheel" in passed
    assert len([name for name in passed if name.startswith("test_hero.py::")]) == 2


def test_the_sample_is_set_up_as_the_page_says():
    page = blocks("docs/testing-your-dags.md")["conftest.py"].partition("\n")[2]

    assert (SAMPLE / "conftest.py").read_text().partition("\n\n")[2] == page


def test_the_page_tests_the_readmes_dag(passed):
    files = sorted(blocks("docs/testing-your-dags.md"))

    assert files == ["conftest.py", "test_clock.py", "test_pictures.py", "test_settings.py"]
    assert len([name for name in passed if name.split("::")[0] in files]) == 5


def test_the_dag_may_be_in_a_variable(passed):
    assert "test_others.py::test_without_credits_nothing_is_spent" in passed


def test_a_mapped_task_keeps_its_images_where_the_page_says(passed):
    page = (ROOT / "docs/testing-your-dags.md").read_text()

    assert '`dag.get_task("hero").partial_kwargs["storage_path"]`' in page
    assert "test_mapped.py::test_mapped" in passed


def test_another_connection_may_be_meant(passed):
    assert "test_other_connection.py::test_it" in passed


def test_the_fixtures_are_told_of(installed, tmp_path):
    ran = run(installed, tmp_path, "--fixtures")

    for name in ("oxen_local_hub", "oxen_connection", "oxen_conn_id"):
        assert name in ran.stdout


def test_the_plugin_loads_nothing_until_a_fixture_is_used():
    code = (
        "import pytest, sys; before = set(sys.modules); import airflow_provider_oxen.pytest_plugin;"
        "print(*sorted(set(sys.modules) - before))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert shown.stdout.split() == ["airflow_provider_oxen", "airflow_provider_oxen.pytest_plugin"]


def test_the_connection_leads_to_the_hub(oxen_connection, oxen_local_hub):
    from airflow_provider_oxen.hooks.oxen import OxenHook

    works, told = OxenHook().test_connection()

    assert works, told
    assert oxen_connection.url in told
    assert oxen_local_hub is oxen_connection
