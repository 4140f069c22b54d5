"""One row of a batch: as it was read, and checked, with its exact request and the names of its files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.catalogue.schema import did_you_mean
from airflow_provider_oxen.jobs.arguments import given, mapping
from airflow_provider_oxen.jobs.plain import plain, shown
from airflow_provider_oxen.jobs.request import RequestArguments, fingerprint

__all__ = ["MAX_PROMPT", "OWN", "CheckedRow", "RawRow", "check", "from_value"]

MAX_PROMPT = 100_000
"""Most characters of a prompt: far more than any known model reads, far less than a row of the hub's queue or
a sidecar should hold. The hub's own limit is not documented."""

OWN = frozenset({"id", *RequestArguments.model_fields})
"""Fields of a row that are not model parameters."""

_FIELDS = OWN - {"id", "prompt", "model_params"}
"""Fields for which the operator has defaults."""

_INDEX = re.compile(r"__index_level_[0-9]+__|Unnamed: [0-9]+")
"""The column to which pandas writes the rows' numbers or names. It is no parameter: a different order of the
rows would change the request."""

_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)")
"""Control characters except tab and line ends, and halves of surrogate pairs."""

_ID_BYTES = 150
"""Most bytes of an id: with our additions, file names stay under the 255 that file systems allow."""

_PLAIN_ID = re.compile(r"[A-Za-z0-9_+=@,()]+")
"""Ids whose characters need no further check."""

_TAKEN = frozenset({"manifest", "summary", "index"})
"""Names of files that the batch itself writes."""

_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10)))
)
"""Names that Windows reserves, with any suffix."""

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    ((list, tuple), "a list"),
    (type(None), "nothing (null)"),
)


class RawRow(NamedTuple):
    """A row as it was read: not checked yet, and the same for every kind of source.

    :ivar line: line in the file, from 1 (in CSV, where the record begins); for a list the position, and for
        Parquet the row, also from 1.
    :ivar values: ``prompt``, optionally ``id``, and any other field of the request; empty if there is a
        problem.
    :ivar problem: a clause, such as "is not JSON: ...".
    :ivar former: the values as earlier versions read them, if that makes a difference.
    """

    line: int
    values: Mapping[str, Any]
    problem: str | None = None
    former: Mapping[str, Any] | None = None


def from_value(line: int, value: Any, wanted: str) -> RawRow:
    """Return the row for an item of a list, or for a line's JSON value.

    :param wanted: what it may be, for people.
    """
    if isinstance(value, str):
        return RawRow(line, {"prompt": value})
    if isinstance(value, Mapping):
        return RawRow(line, value)
    kinds = (name for kind, name in _KINDS if isinstance(value, kind))
    return RawRow(line, {}, f"is not {wanted}, but {next(kinds, f'of type {type(value).__name__}')}")


class CheckedRow(NamedTuple):
    """A row with its exact request.

    :ivar id: the user's; None if the row is named by its fingerprint and its occurrence.
    :ivar former: as earlier versions have read it, if that has another fingerprint.
    """

    line: int
    id: str | None
    request: GenerateRequest
    fingerprint: str
    former: CheckedRow | None = None


def check(raw: RawRow, defaults: Mapping[str, Any]) -> CheckedRow:
    """Return the row with its exact request.

    A field that a row does not set, or sets to nothing, comes from the defaults. ``model_params`` is merged
    over theirs, and so is every other name: it is one more parameter of the model.

    :param defaults: the operator's ``model``, ``response_format``, ``image_size``, ``num_inference_steps``,
        ``seed``, ``target_namespace`` and ``model_params``, as rendered.
    :raises OxenInvalidRequest: with a clause, such as "seed must be ...".
    """
    if raw.problem is not None:
        raise OxenInvalidRequest(raw.problem)
    values = raw.values
    if any(isinstance(name, str) and _INDEX.fullmatch(name) for name in values):
        values = {name: value for name, value in values.items() if not _INDEX.fullmatch(str(name))}
    row = _read(raw.line, values, defaults)
    before = raw.values if raw.former is None else raw.former
    if before is values:
        return row
    try:
        former = _read(raw.line, before, defaults)
    except OxenInvalidRequest:
        return row
    return row if former.fingerprint == row.fingerprint else row._replace(former=former)


def _read(line: int, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> CheckedRow:
    try:
        id = _id(values.get("id"))
        own = {name: given(values.get(name), defaults.get(name)) for name in _FIELDS}
        own |= {"prompt": _prompt(values), "model_params": _parameters(values, defaults)}
        request = RequestArguments.read(own).request()
        return CheckedRow(line, id, request, fingerprint(request))
    except OxenInvalidRequest as error:
        raise OxenInvalidRequest(error.message.removesuffix(".")) from None
    except (RecursionError, ValueError) as error:
        # An unforeseen error of one row belongs only to that row.
        raise OxenInvalidRequest(f"a value cannot be used: {redacted_line(str(error))}") from None


def _parameters(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    inside = mapping("model_params", values.get("model_params"))
    beside = {name: value for name, value in values.items() if name not in OWN and value is not None}
    if odd := [name for name in beside if not isinstance(name, str) or not name]:
        raise OxenInvalidRequest(f"names must be texts that are not empty, not {shown(odd[0])}")
    if twice := sorted(inside.keys() & beside.keys()):
        names = ", ".join(map(shown, twice))
        raise OxenInvalidRequest(f"{names} is set twice: beside model_params and in it")
    return {**mapping("model_params", defaults.get("model_params")), **inside, **beside}


def _prompt(values: Mapping[str, Any]) -> str:
    value = values.get("prompt")
    if value is None:
        others = (name for name in values if name != "prompt")
        near = next((name for name in others if did_you_mean(str(name), ["prompt"])), None)
        renamed = "" if near is None else f", but {shown(near)}: rename it"
        raise OxenInvalidRequest(f"there is no prompt{renamed}")
    if not isinstance(value, str):
        raise OxenInvalidRequest(f"prompt must be a text, not {shown(value)}")
    if given(value, None) is None:
        # What a template renders to without a value would be paid for.
        raise OxenInvalidRequest(f"prompt must not be empty, as {shown(value)} is")
    if len(value) > MAX_PROMPT:
        raise OxenInvalidRequest(
            f"prompt has {len(value):,} characters, and {MAX_PROMPT:,} are allowed: {shown(value[:60])}"
        )
    if unfit := _UNFIT.search(value):
        raise OxenInvalidRequest(
            f"prompt holds {_named(unfit[0])} at character {unfit.start() + 1:,}: {shown(value, 80)}"
        )
    return value


def _named(character: str) -> str:
    if character == "\r":
        return "a carriage return without a line feed"
    code = ord(character)
    return f"{'half a character' if code >= 0xD800 else 'the control character'} U+{code:04X}"


def _id(value: Any) -> str | None:
    if hasattr(value, "item"):
        # NumPy's integer.
        value = plain("id", value)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise OxenInvalidRequest(f"id must be a text or an integer, not {shown(value)}")
    if isinstance(value, int) and abs(value) >= 10**_ID_BYTES:
        # Python may refuse to write it, even into a message.
        raise OxenInvalidRequest(f"id must have at most {_ID_BYTES} digits")
    text = str(value)
    if fault := _fault(text):
        raise OxenInvalidRequest(f"id {shown(text)} becomes a file name and {fault}")
    return text


def _fault(id: str) -> str | None:
    """Return what is wrong with an id, as a clause, or None."""
    if not _PLAIN_ID.fullmatch(id):
        if id != id.strip():
            return "must not have white space around it"
        wrong = next((mark for mark in id if not _is_fit(mark)), None)
        if wrong is not None:
            return f"must hold letters, digits, inner spaces and . _ - + = @ , ( ) only, not {wrong!r}"
        if not unicodedata.is_normalized("NFC", id):
            return "must be in Unicode's form NFC: in another form, the same name is another file"
        if id[0] in ".-" or unicodedata.category(id[0])[0] == "M":
            return "must not begin with '.', '-' or an accent"
        if id[-1] == ".":
            return "must not end with '.'"
    if len(id.encode()) > _ID_BYTES:
        return f"must have at most {_ID_BYTES} bytes of UTF-8, not {len(id.encode()):,}"
    if id.lower() in _TAKEN:
        return "must not be one that the batch writes itself: manifest, summary or index"
    if id.lower().partition(".")[0].rstrip() in _DEVICES:
        return "must not be a name that Windows keeps for a device"
    return None


def _is_fit(character: str) -> bool:
    return character in "._-+=@,() " or unicodedata.category(character)[0] in "LMN"
