from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_oxen import localhub

ROOT = Path(__file__).resolve().parents[3]


def test_public_names_are_loaded_when_used():
    assert {name: getattr(localhub, name).__name__ for name in localhub.__all__} == {
        "Fault": "Fault",
        "HubSettings": "HubSettings",
        "LocalHub": "LocalHub",
    }


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Hub'"):
        _ = localhub.Hub


@pytest.mark.parametrize(
    ("module", "message"), [("uvicorn", r"pip install 'airflow-provider-oxen\[localhub\]'"), ("PIL", "PIL")]
)
def test_missing_module_is_told_with_the_extra_that_brings_it(monkeypatch, module, message):
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=message) as caught:
        _ = localhub.LocalHub
    assert caught.value.name == module


def test_hub_imports_nothing_of_airflow_and_the_package_nothing_before_it_is_used():
    probe = (
        "import sys, airflow_provider_oxen.localhub as localhub; early = set(sys.modules); localhub.LocalHub;"
        "print(*[name for name in ('starlette', 'uvicorn', 'PIL') if name in early],"
        " *[name for name in sys.modules if name.partition('.')[0] == 'airflow'])"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
