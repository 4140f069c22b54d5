"""A row of a batch's input as it was read: not checked yet, and the same whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Raw", "from_value"]

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    ((list, tuple), "a list"),
    (type(None), "nothing (null)"),
)


class Raw(NamedTuple):
    """A row as it is read.

    :ivar line: of the file, from 1 (of CSV the one that the record begins on); of a list the position, and of
        Parquet the row, from 1 as well.
    :ivar values: ``prompt``, perhaps ``id``, and any other field of the request; empty where there is a
        problem.
    :ivar problem: a clause, such as "is not JSON: ...".
    """

    line: int
    values: Mapping[str, Any]
    problem: str | None = None


def from_value(line: int, value: Any, wanted: str) -> Raw:
    """Return the row that a list's item, or a line's JSON value, stands for.

    :param wanted: what it may be, for people.
    """
    if isinstance(value, str):
        return Raw(line, {"prompt": value})
    if isinstance(value, Mapping):
        return Raw(line, value)
    kinds = (name for kind, name in _KINDS if isinstance(value, kind))
    return Raw(line, {}, f"is not {wanted}, but {next(kinds, f'of type {type(value).__name__}')}")
