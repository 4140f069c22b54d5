"""What the pages for people share, the Images view and a batch's contact sheet: templates, styles and words.

Every text in them is somebody else's: the templates escape all, and :func:`text` makes it short and harmless.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["SHARED", "environment", "money", "size", "text"]

SHARED = Path(__file__).with_name("page")
"""The folder with what is shared."""

_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What no page may hold: control characters and halves of characters."""


def environment(folder: Path, *, strict: bool = False) -> Environment:
    """Return where a page's templates are found: its own, and the shared ones.

    :param strict: whether a fact that is not known is an error in a template.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined

    templates = Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined if strict else Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"text": text, "money": money, "size": size, "count": "{:,}".format}
    return templates


def money(cost: object) -> str:
    """Return USD, with all the digits that a price has, and two at least."""
    if not isinstance(cost, int | float):
        return text(cost)
    whole, _, digits = f"{cost:,.6f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"


def size(count: object) -> str:
    """Return a number of bytes in a round unit."""
    if not isinstance(count, int):
        return text(count)
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} GB"


def text(value: object, limit: int = 200) -> str:
    """Return a text on one line, shortened and without what no page may hold; the templates escape it."""
    # Only what can be seen of a text that may be megabytes long is looked at.
    words = _UNFIT.sub("\ufffd", " ".join(str(value)[: 4 * limit + 100].split()))
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"
