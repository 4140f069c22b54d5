"""Turn a path into text: people give a text, or an object of ``pathlib`` or of Airflow. Pure."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_oxen.api.errors import OxenInvalidRequest

__all__ = ["as_text", "check_connection", "is_path", "own_connection", "to_render"]


def is_path(value: Any) -> bool:
    """Return whether a value is a path object; those of newer Airflow versions are no ``PathLike``."""
    kind = type(value)
    return isinstance(value, os.PathLike) or (hasattr(kind, "protocol") and hasattr(kind, "path"))


def to_render(value: Any) -> Any:
    """Return a path object's text, whatever is in it; any other value unchanged."""
    if not is_path(value):
        return value
    # The text of Airflow's own object has the connection in it; on 2.11 its ``fspath`` warns.
    return str(value) if hasattr(type(value), "protocol") else os.fsdecode(value)


def as_text(name: str, value: Any) -> Any:
    """Return a path object's text, including the id of its connection; any other value unchanged.

    :param name: name of the argument, for messages.
    :raises OxenInvalidRequest: if it holds a template.
    """
    if not is_path(value):
        return value
    text = to_render(value)
    if "{{" in text or "{%" in text:
        raise OxenInvalidRequest(
            f"{name} is {text!r}, a path object in which Airflow has not rendered the template.",
            remedy="Give it as a string.",
        )
    return text


def own_connection(path: Any) -> str | None:
    """Return the Airflow connection that a URL names before its bucket, or None."""
    try:
        return urlsplit(path).netloc.rpartition("@")[0] or None if isinstance(path, str) else None
    except ValueError:
        # The code that locates the path reports what is wrong with it.
        return None


def check_connection(name: str, path: str | None, conn_name: str, conn_id: str | None) -> None:
    """Make sure that a path and the argument beside it do not name two different connections.

    :param name: the argument with the path.
    :param conn_name: the argument with the connection.
    :raises OxenInvalidRequest: naming both.
    """
    own = own_connection(path)
    if own and conn_id and own != conn_id:
        raise OxenInvalidRequest(
            f"{name} names the Airflow connection {own!r} (before the '@'), and {conn_name} is {conn_id!r}.",
            remedy="Name one of them. A container of Azure's store follows the '//'.",
        )
