"""A user's own repository, tested with what the wheel brings: its package, its entry points, its fixtures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

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
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "COVERAGE"))
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=place,
        env={**clean, "PYTHONPATH": f"{installed}{os.pathsep}{place}"},
        capture_output=True,
        text=True,
    )


def test_a_users_own_tests_run_without_credits(installed, tmp_path):
    place = tmp_path / "repository"
    shutil.copytree(SAMPLE, place)
    (place / "test_origin.py").write_text(
        "import airflow_provider_oxen\n\n\ndef test_it_is_the_wheel():\n"
        f"    assert airflow_provider_oxen.__file__.startswith({str(installed)!r})\n"
    )
    ran = run(installed, place)

    assert "3 passed" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-2000:]


def blocks(page: str) -> dict[str, str]:
    """Return a page's code by the file name in its first line, as somebody saves it who follows the page."""
    code = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return {match[1]: text for text in code if (match := re.match(r"# (\w+\.py)\b", text))}


def save(place: Path, files: dict[str, str]) -> None:
    """Save the README's Dag and the page's tests as a repository."""
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
    (place / "dags").mkdir()
    (place / "dags" / "pictures.py").write_text(dag)
    for name, code in files.items():
        (place / name).write_text(code)


def test_the_page_tests_the_readmes_dag(installed, tmp_path):
    files = blocks("docs/testing-your-dags.md")
    save(tmp_path, files)

    ran = run(installed, tmp_path)

    assert sorted(files) == ["conftest.py", "test_clock.py", "test_pictures.py", "test_settings.py"]
    assert "5 passed" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-2000:]


def test_the_dag_may_be_in_a_variable(installed, tmp_path):
    files = blocks("docs/testing-your-dags.md")
    code = files["test_pictures.py"]
    code = code.replace("from dags.pictures import pictures", "from dags.pictures import dag as pictures_dag")
    files["test_pictures.py"] = code.replace("dag = pictures()", "dag = pictures_dag")
    save(tmp_path, files)
    saved = tmp_path / "dags" / "pictures.py"
    saved.write_text(saved.read_text().rstrip().removesuffix("pictures()") + "dag = pictures()\n")

    ran = run(installed, tmp_path, "-k", "without_credits")

    assert "1 passed" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-2000:]


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


def test_a_mapped_task_keeps_its_images_where_the_page_says(installed, tmp_path):
    page = (ROOT / "docs/testing-your-dags.md").read_text()
    assert '`dag.get_task("hero").partial_kwargs["storage_path"]`' in page
    files = blocks("docs/testing-your-dags.md")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "mapped.py").write_text(MAPPED)
    (tmp_path / "conftest.py").write_text(files["conftest.py"])
    (tmp_path / "test_mapped.py").write_text(TEST_OF_MAPPED)

    ran = run(installed, tmp_path)

    assert "1 passed" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-2000:]


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


def test_another_connection_may_be_meant(installed, tmp_path):
    (tmp_path / "test_other.py").write_text(
        "import json\nimport os\n\nimport pytest\n\n\n"
        "@pytest.fixture\ndef oxen_conn_id():\n    return 'oxen_other'\n\n\n"
        "def test_it(oxen_connection):\n"
        "    assert json.loads(os.environ['AIRFLOW_CONN_OXEN_OTHER'])['host'] == oxen_connection.url\n"
    )
    ran = run(installed, tmp_path)

    assert "1 passed" in ran.stdout, ran.stdout[-2000:]


def test_the_connection_leads_to_the_hub(oxen_connection, oxen_local_hub):
    from airflow_provider_oxen.hooks.oxen import OxenHook

    works, told = OxenHook().test_connection()

    assert works, told
    assert oxen_connection.url in told
    assert oxen_local_hub is oxen_connection
