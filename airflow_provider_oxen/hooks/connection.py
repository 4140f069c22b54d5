"""Read a connection of type ``oxen`` into settings, and test it for the connection form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_oxen.api import calls, errors
from airflow_provider_oxen.api.blocking import unsuspended
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.deadline import Deadline
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.catalogue.readiness import prove_key
from airflow_provider_oxen.connections import missing

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

__all__ = ["check", "read_connection", "translate_not_found"]

_SECONDS = 5.0
"""Seconds that each step of the test may take: somebody has pressed the button and is waiting."""

_ALL = 12.0
"""Seconds that all steps of the test may take together."""


@contextmanager
def translate_not_found(conn_id: str) -> Iterator[None]:
    """Turn Airflow's error for a connection that does not exist into one of this package.

    :raises OxenSettingsError: naming the connection.
    """
    try:
        yield
    except AirflowNotFoundException:
        why = missing(conn_id, "oxen_conn_id")
        raise errors.OxenSettingsError(why.message, retry_helps=why.may_pass) from None


def read_connection(conn_id: str, conn: Connection) -> Settings:
    """Return the fields of a connection, checked.

    :raises OxenSettingsError: naming the connection and the field.
    """
    try:
        return Settings.from_fields(
            host=conn.host,
            password=conn.password,
            schema=conn.schema,
            port=conn.port,
            # Airflow ignores an extra that is not JSON. It must not be ignored: it may say who is billed.
            extra=conn.extra_dejson or conn.extra,
        )
    except errors.OxenSettingsError as error:
        error.advise(f"Change the Airflow connection {conn_id!r}.")
        raise
    except Exception as error:
        # Airflow decrypts the fields here, and the messages of its libraries may quote them.
        raise errors.OxenSettingsError(
            f"The Airflow connection {conn_id!r} cannot be read ({type(error).__name__}).",
            remedy="Enter its password and extra again: they may be encrypted with another Fernet key.",
        ) from None


def check(read: Callable[[], Settings]) -> tuple[bool, str]:
    """Return whether the connection works, and a sentence for the form.

    The catalogue answers without a key, so it shows whether host and layout are right. Then the key is
    checked; a hub without the routes for that is asked for its queue instead.

    :param read: returns the settings, or raises an error that says what is wrong with them.
    """
    try:
        settings = read()
        settings = replace(settings, timeout=_SECONDS, connect_timeout=_SECONDS, max_retries=0)
        with Client(settings) as client, Deadline(_ALL):
            client.send(calls.list_models())
            user = unsuspended(prove_key(client))
    except errors.OxenAuthenticationError:
        return False, "The hub was reached, but the API key (the password field) is missing or wrong."
    except errors.OxenRouteNotFound as error:
        return False, f"The host was reached, but does not look like the hub in this layout: {error.message}"
    except errors.OxenError as error:
        return False, error.message
    if user is None:
        return True, f"Connected to {settings.base_url}. The key is accepted."
    who = redacted_line(settings.redact(user.name or user.email or ""))
    return True, f"Connected to {settings.base_url}{f' as {who}' if who else ''}."
