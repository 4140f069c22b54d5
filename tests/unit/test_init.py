"""The package can be asked who it is before Airflow is ready."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

import airflow_provider_oxen
from airflow_provider_oxen import provider_info

from ..conftest import ROOT


def test_provider_info_is_that_of_the_module():
    assert airflow_provider_oxen.get_provider_info() == provider_info.get_provider_info()


@pytest.mark.parametrize(
    "ask",
    [
        "from airflow_provider_oxen import get_provider_info, __version__",
        "from airflow_provider_oxen.provider_info import get_provider_info",
    ],
    ids=["package", "entry_point"],
)
def test_asking_imports_nothing_but_the_package(ask):
    code = f"import sys; old = set(sys.modules); {ask}; get_provider_info(); print(*set(sys.modules) - old)"
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    )
    loaded = {name.partition(".")[0] for name in shown.stdout.split()}

    assert "airflow_provider_oxen" in loaded
    assert loaded - {"airflow_provider_oxen"} <= set(sys.stdlib_module_names)


def test_version_is_that_of_the_distribution():
    try:
        installed = importlib.metadata.version("airflow-provider-oxen")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package is not installed here, only on the path")

    assert airflow_provider_oxen.__version__ == installed
