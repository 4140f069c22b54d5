"""What Airflow's own commands and provider discovery see of the installed package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from airflow.models import Connection
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from airflow_provider_oxen import __version__
from airflow_provider_oxen.provider_info import CONFIG, CONNECTION_TYPE

from .conftest import untraced


def airflow(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "airflow", *arguments],
        env=untraced(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_airflow_knows_the_provider():
    [provider] = json.loads(airflow("providers", "get", "airflow-provider-oxen", "--output", "json"))

    assert provider == {"Provider": "airflow-provider-oxen", "Version": __version__}


def test_airflow_lists_the_hook():
    hooks = json.loads(airflow("providers", "hooks", "--output", "json"))

    [hook] = [hook for hook in hooks if hook["connection_type"] == "oxen"]
    assert hook["class"] == "airflow_provider_oxen.hooks.oxen.OxenHook"
    assert hook["conn_id_attribute_name"] == "oxen_conn_id"


def test_airflow_lists_the_site_wide_defaults():
    listed = airflow("config", "list", "--section", "oxen", "--defaults", "--include-env-vars")

    assert "[oxen]" in listed
    for option in CONFIG["oxen"]["options"]:
        assert f"AIRFLOW__OXEN__{option.upper()}" in listed


@pytest.mark.usefixtures("airflow_db")
def test_airflow_adds_a_connection():
    airflow("connections", "add", "oxen_test", "--conn-type", "oxen", "--conn-password", "secret")

    its = Connection.conn_id == "oxen_test"
    with create_session() as session:
        # The type alone: the command has encrypted the rest with a key that this process has not.
        assert session.scalars(select(Connection.conn_type).where(its)).all() == ["oxen"]
        session.execute(delete(Connection).where(its))


SHOW_FORM = """
import json
from airflow.providers_manager import ProvidersManager

manager = ProvidersManager()
widgets = [item for item in manager.connection_form_widgets.values() if "OxenHook" in item.hook_class_name]
print(json.dumps([sorted(item.field_name for item in widgets), manager.field_behaviours["oxen"]]))
"""


def test_the_form_is_the_same_on_every_line():
    """Airflow 3.2 and newer read the metadata, older lines the hook's methods: one form comes out."""
    # In a process of its own: to show the form, Airflow 2.11 loads every provider's hooks.
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SHOW_FORM], check=True, capture_output=True, text=True
    )
    widgets, behaviour = json.loads(done.stdout.splitlines()[-1])

    assert widgets == sorted(CONNECTION_TYPE["conn-fields"])
    assert behaviour["hidden_fields"] == CONNECTION_TYPE["ui-field-behaviour"]["hidden-fields"]
    assert behaviour["relabeling"] == CONNECTION_TYPE["ui-field-behaviour"]["relabeling"]
    assert behaviour["placeholders"]["host"] == "https://hub.oxen.ai"
