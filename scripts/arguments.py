"""Tables of arguments in docs/, made from what the package says itself: ``python scripts/arguments.py``.

Names and defaults come from the signature and the argument model, meanings from the docstring. A test fails
where a page has fallen behind. The table stands in the page between two marks::

    <!-- arguments: operators.images.ImageGenerateOperator tasks.arguments.ImageArguments -->
    <!-- /arguments -->
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

PACKAGE = "airflow_provider_oxen"

PAGES = Path(__file__).resolve().parents[1] / "docs"

_TABLE = re.compile(r"(<!-- arguments: (\S+) (\S+) -->\n).*?(<!-- /arguments -->)", re.DOTALL)
_PARAM = re.compile(r"^:param (\w+):(.*?)(?=^:|^\S|\Z)", re.MULTILINE | re.DOTALL)


def renewed(text: str) -> str:
    """Return a page's text with the tables as they must be."""
    return _TABLE.sub(
        lambda found: f"{found[1]}{table(_named(found[2]), _named(found[3]))}\n{found[4]}", text
    )


def table(operator: Any, model: Any) -> str:
    """Return the Markdown table of an operator's or a sensor's arguments.

    :param model: reads them; what it does not know has the signature's default.
    """
    said = meanings(operator)
    lines = (
        f"| `{name}` | {default} | {said[name].replace('|', chr(92) + '|')} |"
        for name, default in defaults(operator, model).items()
    )
    return "\n".join(("| argument | default | meaning |", "|---|---|---|", *lines))


def meanings(operator: Any) -> dict[str, str]:
    """Return what the docstring says of each argument, as Markdown."""
    found = {}
    for name, meaning in _PARAM.findall(inspect.getdoc(operator) or ""):
        words = " ".join(meaning.replace("``", "`").split())
        found[name] = words[:1].upper() + words[1:]
    return found


def defaults(operator: Any, model: Any) -> dict[str, str]:
    """Return the default of each argument, as Markdown."""
    init: Any = ast.parse(textwrap.dedent(inspect.getsource(operator.__init__))).body[0]
    values = inspect.signature(operator).parameters
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {
        word.arg: _default(written, values[word.arg].default, fields.get(word.arg))
        for word, written in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
    }


def _default(written: ast.expr | None, value: Any, field: Any) -> str:
    if written is None:
        return "*required*"
    # What a function or a name stands for depends on the machine that makes the table.
    if any(isinstance(part, ast.Call | ast.Name) for part in ast.walk(written)):
        return "*configured*"
    if field is not None and field.default_factory not in (None, dict):
        return "*depends*"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"{value // 2**20} MiB"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _named(name: str) -> Any:
    module, _, attribute = f"{PACKAGE}.{name}".rpartition(".")
    return getattr(importlib.import_module(module), attribute)


if __name__ == "__main__":
    for page in PAGES.glob("*.md"):
        page.write_text(renewed(page.read_text()))
