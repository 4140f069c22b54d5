"""What is said of a connection that is not there."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.connections import missing


def test_connection_that_nobody_has_made_is_to_be_made():
    assert missing("nowhere", "oxen_conn_id") == (
        "The Airflow connection 'nowhere' is not defined: create it, or set oxen_conn_id to another one.",
        False,
    )


def test_variable_that_holds_none_is_named_as_that(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", "")

    message, may_pass = missing("nowhere", "oxen_conn_id")

    assert message.endswith(
        "the environment variable is set, but its value is neither JSON nor a connection URI."
    )
    assert not may_pass


@pytest.mark.parametrize("name", ["SECRETS__BACKEND", "WORKERS__SECRETS_BACKEND"])
def test_backend_of_secrets_may_answer_the_next_time(monkeypatch, name):
    monkeypatch.setenv(f"AIRFLOW__{name}", "a.vault")

    message, may_pass = missing("nowhere", "oxen_conn_id")

    assert message.endswith("Or the secrets backend did not answer: see its log.")
    assert may_pass


def test_secret_in_a_name_is_not_told():
    assert "'id:***'" in missing("id:secret", "storage_conn_id").message
