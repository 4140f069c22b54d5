"""What Airflow learns about the package is true, and in the form that it wants."""

from __future__ import annotations

import importlib
import importlib.resources
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseOperator, task
from airflow.triggers.base import BaseTrigger

from airflow_provider_oxen.api.settings import EXTRAS, Settings
from airflow_provider_oxen.decorators.images import oxen_image_task
from airflow_provider_oxen.hooks.oxen import OxenHook
from airflow_provider_oxen.provider_info import CONFIG, CONNECTION_TYPE, get_provider_info

from ..conftest import ROOT

try:
    from airflow.sdk import providers_manager_runtime as managers

    ProvidersManager: Any = managers.ProvidersManagerTaskRuntime
except ImportError:
    from airflow import providers_manager

    ProvidersManager = providers_manager.ProvidersManager

INFO = get_provider_info()
FIELDS = CONNECTION_TYPE["conn-fields"]


def airflows(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(importlib.resources.files("airflow").joinpath(name).read_text())
    return schema


def test_metadata_is_in_the_form_that_airflow_reads():
    jsonschema.validate(INFO, airflows("provider_info.schema.json"))


def test_connection_type_is_in_the_form_that_airflows_own_providers_use():
    whole = airflows("provider.yaml.schema.json")

    jsonschema.validate(
        INFO["connection-types"],
        {**whole["properties"]["connection-types"], "definitions": whole.get("definitions")},
    )


def test_integration_is_in_the_form_of_airflows_own_providers():
    rules = airflows("provider.yaml.schema.json")["properties"]["integrations"]["items"]["properties"]
    [integration] = INFO["integrations"]

    assert set(integration) <= set(rules)
    assert {"logo", "how-to-guide", "tags", "external-doc-url"} <= set(integration)
    # Airflow 2.11 has a shorter list.
    if "generative-ai" in (accepted := rules["tags"]["items"]["enum"]):
        assert set(integration["tags"]) <= set(accepted)


def test_logo_and_guides_are_in_the_repository():
    [integration] = INFO["integrations"]

    for path in [integration["logo"], *integration["how-to-guide"]]:
        assert path.startswith("/docs/")
        assert (ROOT / path.lstrip("/")).is_file()


def test_configuration_is_in_the_form_that_airflow_reads():
    whole = airflows("provider_info.schema.json")

    for option in CONFIG["oxen"]["options"].values():
        jsonschema.validate(option, whole["definitions"]["option"])


def test_everything_that_is_named_exists():
    for part in ("hooks", "operators", "sensors", "triggers"):
        [group] = INFO[part]
        assert group["integration-name"] == INFO["integrations"][0]["integration-name"]
        for module in group["python-modules"]:
            assert importlib.import_module(module).__all__


@pytest.mark.parametrize(("part", "base"), [("operators", BaseOperator), ("triggers", BaseTrigger)])
def test_every_module_that_holds_one_is_named(part, base):
    [group] = INFO[part]
    named = {importlib.import_module(module) for module in group["python-modules"]}

    folder = importlib.resources.files(f"airflow_provider_oxen.{part}")
    names = [file.name.removesuffix(".py") for file in folder.iterdir() if file.name.endswith(".py")]
    # What the operators have in common is none itself.
    modules = [
        importlib.import_module(f"airflow_provider_oxen.{part}.{name}")
        for name in names
        if name[0] != "_" and name != "base"
    ]
    assert named == {
        module
        for module in modules
        if any(isinstance(item, type) and issubclass(item, base) for item in own(module))
    }


def own(module: Any) -> list[Any]:
    return [item for item in vars(module).values() if getattr(item, "__module__", None) == module.__name__]


def test_the_decorator_is_the_one_that_airflow_gives_to_dags():
    [named] = INFO["task-decorators"]
    module, _, name = named["class-name"].rpartition(".")

    assert getattr(importlib.import_module(module), name) is oxen_image_task
    assert getattr(task, named["name"]) is oxen_image_task


def test_airflows_own_manager_lists_the_decorator():
    assert ProvidersManager().taskflow_decorators["oxen_image"] is oxen_image_task


def test_connection_type_is_the_hooks():
    [connection_type] = INFO["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")

    assert getattr(importlib.import_module(module), name) is OxenHook
    assert connection_type["connection-type"] == OxenHook.conn_type
    assert connection_type["hook-name"] == OxenHook.hook_name


def test_form_offers_every_extra_and_no_other():
    assert tuple(FIELDS) == EXTRAS


@pytest.mark.parametrize("name", FIELDS)
def test_what_the_form_offers_is_what_the_settings_take(name):
    rules = FIELDS[name]["schema"]
    least = [rules[key] for key in ("minimum", "default") if key in rules]

    for value in [*least, *rules.get("enum", [])]:
        jsonschema.validate(value, rules)
        Settings.from_fields(extra={name: value})


def test_defaults_of_the_form_are_those_of_the_settings():
    for name, field in FIELDS.items():
        if "default" in field["schema"]:
            assert field["schema"]["default"] == getattr(Settings(), name)


def test_documented_defaults_are_those_of_the_settings():
    assert f"Empty: {Settings().timeout:.0f}." in FIELDS["timeout"]["description"]
    assert f"Empty: {Settings().max_retries}." in FIELDS["max_retries"]["description"]


@pytest.mark.parametrize("name", EXTRAS)
def test_field_is_documented(name):
    page = Path(__file__, "../../../docs/connection.md").resolve().read_text()

    assert f"\n| `{name}` |" in page


def test_fields_that_hold_a_secret_are_masked():
    assert FIELDS["proxy"]["schema"]["format"] == "password"


def test_no_extra_field_looks_required():
    # Airflow marks a field as required unless its type allows null.
    assert all("null" in field["schema"]["type"] for field in FIELDS.values())


def test_form_offers_a_port():
    # Without one, Airflow 3.3.1 and 3.3.2 cannot test a saved connection.
    assert "port" not in CONNECTION_TYPE["ui-field-behaviour"]["hidden-fields"]
