"""The arguments of an operator, a sensor or a call as one value, read once, after rendering.

Templates render to text. An exact number becomes a number again, and a template without a value becomes the
argument's default.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticUseDefault

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.catalogue.values import UNSET, exact_number
from airflow_provider_oxen.jobs.plain import plain, shown

__all__ = [
    "Amount",
    "Arguments",
    "Boolean",
    "Name",
    "Names",
    "Number",
    "OptionalText",
    "Seconds",
    "Text",
    "Timeout",
    "Unfit",
    "given",
    "is_unset",
    "mapping",
    "one_of",
    "or_default",
    "text",
    "whole",
]

_MOST = sys.float_info.max

_FOLLOWS = "default_factory_not_called"

_DOLLARS = r"(?:US ?\$|\$|USD|(?:US )?dollars?)"
_AMOUNT = re.compile(
    rf"\s*\+?{_DOLLARS}?\s*"
    r"([1-9][0-9]{0,2}(?:,[0-9]{3}){1,9}(?:\.[0-9]{0,30})?"
    r"|[0-9]{1,30}(?:_[0-9]{3}){0,9}(?:\.[0-9]{0,30})?(?:e[+-]?[0-9]{1,2})?"
    r"|\.[0-9]{1,30})"
    rf"\s*{_DOLLARS}?\s*",
    re.IGNORECASE | re.ASCII,
)
"""An amount that cannot be mistaken for another: commas group thousands, and 0,50 is not accepted."""


class Unfit(ValueError):
    """What an argument must be, such as "must be a text", and optionally a sentence of advice."""


class Arguments(BaseModel):
    """Arguments, each under its own name, as plain JSON.

    Declare a field with one of the types below. They describe errors for the author of the Dag; pydantic's
    own messages are never shown.
    """

    # Build the schemas when arguments are read: many processes import this module and read none.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), defer_build=True)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arguments as the operator has them."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    @classmethod
    def of(cls, operator: Any) -> Self:
        """Read the arguments of an operator whose templates are rendered.

        :raises OxenInvalidRequest: see :meth:`read`.
        """
        return cls.read({name: getattr(operator, name) for name in cls.names()})

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the values and convert them to their types.

        :raises OxenInvalidRequest: naming each wrong argument, what is allowed, and its value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            # A default that follows from another argument is not to blame for that one.
            wrong = [one for one in error.errors(include_url=False) if one["type"] != _FOLLOWS]
        raise OxenInvalidRequest(" ".join(map(_sentence, wrong)))

    def as_json(self) -> dict[str, Any]:
        """Return the arguments by name as plain JSON, from which the same arguments can be read again."""
        return self.model_dump(by_alias=True)


def _sentence(wrong: Mapping[str, Any]) -> str:
    name, error = wrong["loc"][0], wrong.get("ctx", {}).get("error")
    if isinstance(error, Unfit):
        rule, *advice = error.args
        return " ".join((f"{name} {rule}, not {shown(wrong['input'])}.", *advice))
    return f"{name} cannot be used: {' '.join(wrong['msg'].split())}."


def is_unset(value: Any) -> bool:
    """Return whether a value is what a template renders to without a value."""
    return value is None or (isinstance(value, str) and value.strip() in UNSET)


def given(value: Any, default: Any) -> Any:
    """Return the value, or the default if it is unset."""
    return default if is_unset(value) else value


def or_default(read: Callable[..., Any]) -> PlainValidator:
    """Return a field's reader that uses the default for an unset value."""

    def reader(value: Any) -> Any:
        if is_unset(value):
            raise PydanticUseDefault
        return read(value)

    return PlainValidator(reader)


def one_of(words: Any) -> PlainValidator:
    """Return a reader for a ``Literal``: the value must be one of its words."""
    allowed = get_args(words)

    def read(value: Any) -> Any:
        if value not in allowed:
            raise Unfit(f"must be one of {', '.join(allowed)}")
        return value

    return or_default(read)


def whole(least: int) -> Callable[[Any], int]:
    """Return a reader for an integer; a float without a fraction and its text are accepted, too.

    :param least: the smallest allowed value.
    """

    def read(value: Any) -> int:
        number = exact_number(value) if isinstance(value, str) else value
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool) or number < least:
            raise Unfit(f"must be an integer of at least {least}")
        return number

    return read


def text(value: Any) -> str:
    """Return a text that is not empty, without the space around it."""
    if not isinstance(value, str) or is_unset(value):
        raise Unfit("must be a text")
    return value.strip()


def mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of names to values, also from JSON, which a template makes with ``| tojson``.

    :param name: name of the argument, for messages.
    :raises OxenInvalidRequest: naming the argument.
    """
    value = given(value, {})
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise OxenInvalidRequest(
                f"{name} was rendered to {shown(value)}, which is not JSON: render it with '| tojson'."
            ) from None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) and key for key in value):
        raise OxenInvalidRequest(f"{name} must map names to values, not {shown(value)}.")
    return dict(value)


def _boolean(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    found = value if isinstance(value, bool) else words.get(str(value).strip().lower())
    if found is None:
        raise Unfit("must be True or False")
    return found


def _number(value: Any, kind: str = "number") -> float:
    found = exact_number(value) if isinstance(value, str) else value
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found <= _MOST:
        raise Unfit(f"must be a {kind} above 0")
    return float(found)


def _amount(value: Any) -> float:
    matched = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    found: Any = float(matched[1].replace(",", "").replace("_", "")) if matched else value
    is_number = isinstance(found, int | float | Decimal) and not isinstance(found, bool)
    # Compare it without converting: an integer may be larger than any float.
    if not is_number or not 0 < found <= _MOST:
        raise Unfit("must be a number above 0", "Write it in USD, as 5, 0.5 or '$5'.")
    return float(found)


def _seconds(value: Any) -> float:
    return _number(value.total_seconds() if isinstance(value, timedelta) else value, "number of seconds")


Boolean = Annotated[bool, or_default(_boolean)]
"""True or False, or their text."""

Text = Annotated[str, PlainValidator(text)]
"""A required text."""

Name = Annotated[str, or_default(text)]
"""A text, such as a connection's id."""

OptionalText = Annotated[str | None, or_default(text)]

Number = Annotated[float | None, or_default(_number)]
"""A number above 0."""

Amount = Annotated[float | None, or_default(_amount)]
"""USD above 0; also accepts ``"$5"``, ``"5 USD"`` and ``"1,000.00"``."""

Seconds = Annotated[float, or_default(_seconds)]
"""A duration, given as a number above 0 or as a ``timedelta``."""

Timeout = Annotated[float | None, PlainValidator(lambda value: None if is_unset(value) else _seconds(value))]
"""Seconds, or None for no limit. Here None, and what a template makes of it, is not "unset"."""

Names = Annotated[
    dict[str, Any],
    PlainValidator(lambda value, info: plain(info.field_name, mapping(info.field_name, value))),
]
"""Names and their values, as plain JSON."""
