"""A path as people give it: a text, or an object of ``pathlib`` or of Airflow. It becomes a text. Pure."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_oxen.api.errors import OxenInvalidRequest

__all__ = ["as_text", "check_connection", "is_path", "own_connection", "to_render"]


def is_path(value: Any) -> bool:
    """Whether a value is an object that stands for a path; what newer Airflow has is no ``PathLike``."""
    kind = type(value)
    return isinstance(value, os.PathLike) or (hasattr(kind, "protocol") and hasattr(kind, "path"))


def to_render(value: Any) -> Any:
    """Return a path object's text, whatever is in it; any other value as it is."""
    if not is_path(value):
        return value
    # Airflow's own has the connection in its text, and on 2.11 warns of its ``fspath``.
    return str(value) if hasattr(type(value), "protocol") else os.fsdecode(value)


def as_text(name: str, value: Any) -> Any:
    """Return a path object's text, with the id of its connection in it; any other value as it is.

    :param name: of the argument, for messages.
    :raises OxenInvalidRequest: where it holds a template.
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
    """Return the Airflow connection that a URL names before its bucket, if it does."""
    try:
        return urlsplit(path).netloc.rpartition("@")[0] or None if isinstance(path, str) else None
    except ValueError:
        # What is wrong with it is told where it is located.
        return None


def check_connection(name: str, path: str | None, conn_name: str, conn_id: str | None) -> None:
    """Make sure that a path and the argument beside it do not name two connections.

    :param name: of the argument that the path was given by.
    :param conn_name: of the argument that the connection was given by.
    :raises OxenInvalidRequest: naming both.
    """
    own = own_connection(path)
    if own and conn_id and own != conn_id:
        raise OxenInvalidRequest(
            f"{name} names the Airflow connection {own!r} (before the '@'), and {conn_name} is {conn_id!r}.",
            remedy="Name one of them. A container of Azure's store follows the '//'.",
        )
