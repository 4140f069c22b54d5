"""Why Airflow has no connection of a name, and whether that may pass."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = ["Missing", "missing"]


class Missing(NamedTuple):
    """What is said of a connection that is not there.

    :ivar told: a sentence that names it, and the remedy.
    :ivar may_pass: whether another try may find it.
    """

    told: str
    may_pass: bool


def missing(conn_id: str, argument: str) -> Missing:
    """Return what to say of a connection that Airflow calls undefined.

    Airflow says so, too, of a secret that is no connection, and of a secrets backend that does not answer.

    :param argument: what names the connection.
    """
    # Of "key:secret", which somebody may have put into a URL, the secret is not told.
    head, colon, _ = conn_id[:200].partition(":")
    name, shown = f"AIRFLOW_CONN_{conn_id.upper()}", repr(f"{head}:***" if colon else head)
    if name in os.environ:
        told = (
            f"The Airflow connection {shown} cannot be read: the environment variable is set, but its "
            "value is neither JSON nor a connection URI."
        )
        return Missing(told, False)
    told = f"The Airflow connection {shown} is not defined: create it, or set {argument} to another one."
    if _has_backend():
        return Missing(f"{told} Or the secrets backend did not answer: see its log.", True)
    return Missing(told, False)


def _has_backend() -> bool:
    from airflow.providers.common.compat.sdk import conf

    places = (("secrets", "backend"), ("workers", "secrets_backend"))
    return any(conf.get(section, key, fallback=None) for section, key in places)
