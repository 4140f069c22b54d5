"""Explain why Airflow does not find a connection, and whether a retry may find it."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Missing", "missing"]


class Missing(NamedTuple):
    """The message about a connection that is not there.

    :ivar message: a sentence that names the connection, and the remedy.
    :ivar may_pass: whether another try may find the connection.
    """

    message: str
    may_pass: bool


def missing(conn_id: str, argument: str) -> Missing:
    """Return the message about a connection that Airflow calls undefined.

    Airflow calls a connection undefined also if its secret cannot be parsed, or if a secrets backend does not
    answer.

    :param argument: name of the argument that holds the connection's id.
    """
    # Somebody may have written "key:secret" into a URL: do not show the secret.
    head, colon, _ = conn_id[:200].partition(":")
    name, shown = f"AIRFLOW_CONN_{conn_id.upper()}", repr(f"{head}:***" if colon else head)
    if name in os.environ:
        message = (
            f"The Airflow connection {shown} cannot be read: the environment variable is set, but its "
            "value is neither JSON nor a connection URI."
        )
        return Missing(message, False)
    message = f"The Airflow connection {shown} is not defined: create it, or set {argument} to another one."
    if _has_backend():
        return Missing(f"{message} Or the secrets backend did not answer: see its log.", True)
    return Missing(message, False)


def _has_backend() -> bool:
    from airflow.providers.common.compat.sdk import conf

    places = (("secrets", "backend"), ("workers", "secrets_backend"))
    return any(conf.get(section, key, fallback=None) for section, key in places)
