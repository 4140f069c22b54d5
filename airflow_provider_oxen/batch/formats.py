"""Prompts as plain text and as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from airflow_provider_oxen.batch.lines import read_lines
from airflow_provider_oxen.batch.raw import Raw, from_value
from airflow_provider_oxen.jobs.arguments import shown

__all__ = ["NotJSON", "parse", "read_jsonl", "read_text"]


class NotJSON(ValueError):
    """A text is not JSON, or not such as has one meaning. Its own text is a clause."""


def read_text(file: BinaryIO) -> Iterator[Raw]:
    """Return a row a line, the line being the prompt as it is; blank ones are none."""
    for line in read_lines(file):
        if line.problem:
            yield Raw(line.number, {}, line.problem)
        elif line.text.strip():
            yield Raw(line.number, {"prompt": line.text})


def read_jsonl(file: BinaryIO) -> Iterator[Raw]:
    """Return a row a line, which is an object, or a text: a prompt. Blank lines are none."""
    for line in read_lines(file):
        if line.problem:
            yield Raw(line.number, {}, line.problem)
        elif line.text.strip():
            try:
                value = parse(line.text)
            except NotJSON as error:
                yield Raw(line.number, {}, str(error))
            else:
                yield from_value(line.number, value, "an object or a text")


def parse(text: str) -> Any:
    """Return the value that a JSON text is of, as the standard has it: Python's own reading takes more.

    :raises NotJSON: also for an object that names something twice.
    """
    try:
        return _DECODER.decode(text)
    except NotJSON:
        raise
    except json.JSONDecodeError as error:
        raise NotJSON(f"is not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise NotJSON("is not JSON that can be read: it is nested too deep") from None
    except ValueError as error:
        # A number of more digits than Python converts.
        raise NotJSON(f"is not JSON that can be read: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise NotJSON(f"names {shown(twice, 60)} twice in one object")
    return found


def _constant(name: str) -> Any:
    raise NotJSON(f"holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
