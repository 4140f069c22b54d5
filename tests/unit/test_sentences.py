"""What errors say is made in one place: raise sites give facts, and nobody looks into a message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import airflow_provider_oxen
from airflow_provider_oxen.api import errors

PACKAGE = Path(airflow_provider_oxen.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "localhub" not in path.parts)
KINDS = {name for name in errors.__all__ if name.startswith("Oxen")}

MONEY = re.compile(
    r"nothing (more )?was (sent|spent)(?!:)|\bsends nothing|it was not sent"
    r"|(?<!what )\b(may|was|has|have|were) (have )?(been )?paid for",
    re.IGNORECASE,
)
RETRY = re.compile(r"\bthe next try\b|not tried again|airflow's retries", re.IGNORECASE)

LOST = {
    "OxenImageError": "kept",
    "OxenBadImage": "usable",
    "OxenDownloadError": "fetched",
    "OxenExpiredURL": "fetched",
    "OxenStorageError": "written",
}
"""What the first sentence of an error says of the image: that it is not this."""

INTO_A_MESSAGE = re.compile(
    r"in str\(error\)|in error\.message|\.message \+=|str\(error\)\.(startswith|endswith|replace|remove)"
    r"|\.message\.(replace|startswith|endswith|find)"
)


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def text_of(node: ast.expr) -> str:
    return " ".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def causes() -> Iterator[tuple[str, str]]:
    """Yield each cause that the package's own code writes, with its place."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and name_of(node) in KINDS and node.args:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text_of(node.args[0])


def test_raise_sites_are_found():
    assert len(list(causes())) > 120


def test_no_cause_says_what_the_facts_say():
    """A cause that tells of money, or of another try, would say it twice, and at the wrong end."""
    assert [found for found in causes() if MONEY.search(found[1]) or RETRY.search(found[1])] == []


def test_no_cause_says_again_what_became_of_the_image():
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or any(word.arg == "money" for word in node.keywords):
                continue
            lost, cause = LOST.get(name_of(node)), " ".join(map(text_of, node.args[:1]))
            if lost and re.search(rf"\bnot (be )?{lost}", cause):
                found.append(cause)

    assert found == []


def test_nobody_looks_into_a_message():
    found = {
        f"{path.relative_to(PACKAGE)}": line.strip()
        for path in MODULES
        for line in path.read_text().splitlines()
        if INTO_A_MESSAGE.search(line)
    }

    # What Airflow says of a deferral that timed out, and a store's driver of an answer, has no other form.
    assert found.keys() <= {"sensors/deferring.py", "images/stores.py"}, found
