"""The connection form's Test button: is the host there, is it the hub, is the key right?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from airflow_provider_oxen.api import calls, errors, queue
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import User
from airflow_provider_oxen.api.settings import Settings

__all__ = ["check", "prove_key"]

_SECONDS = 5.0
"""How long each step may take: somebody is looking at the button."""


def check(read: Callable[[], Settings]) -> tuple[bool, str]:
    """Return whether the connection works, and a sentence for the form.

    The catalogue answers without a key, so it tells whether host and layout are right; then the
    key is asked about, where the hub is old enough to lack that route by way of the queue.

    :param read: gives the settings, or raises what is wrong with them.
    """
    try:
        settings = read()
        settings = replace(settings, timeout=_SECONDS, connect_timeout=_SECONDS, max_retries=0)
        with Client(settings) as client:
            return True, _ask(client)
    except errors.OxenAuthenticationError:
        return False, "The hub was reached, but the API key (the password field) is missing or wrong."
    except errors.OxenRouteNotFound as error:
        return False, f"The host was reached, but does not look like the hub in this layout: {error}"
    except errors.OxenError as error:
        return False, str(error)


def prove_key(client: Client) -> User | None:
    """Return whose key it is, or None where the hub does not tell. Listing models needs no key.

    :raises OxenAuthenticationError: where the key is missing or wrong.
    """
    try:
        return client.send(calls.authorize())
    except errors.OxenRouteNotFound:
        # A hub without that route has the queue, which asks for the key too.
        client.send(queue.list_queue())
        return None


def _ask(client: Client) -> str:
    settings = client.settings
    client.send(calls.list_models())
    user = prove_key(client)
    if user is None:
        return f"Connected to {settings.base_url}. The key is accepted."
    who = settings.hide(user.name or user.email or "")
    return f"Connected to {settings.base_url}{f' as {who}' if who else ''}."
