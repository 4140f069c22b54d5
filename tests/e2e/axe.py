"""What axe finds against a page's accessibility, run inside the page itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page

__all__ = ["found"]

_SOURCE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"


def found(shown: Page | Frame) -> list[str]:
    """Return each violation of any of axe's rules, with the elements that have it.

    The browser's debugger evaluates axe: the page's own policy would not load it.
    """
    assert _SOURCE.exists(), "axe is not installed: make e2e does it"
    shown.evaluate(f"() => {{ {_SOURCE.read_text()} }}")
    answer: dict[str, Any] = shown.evaluate("() => axe.run(document)")
    assert answer["passes"]
    return [
        f"{rule['id']}: {node['html'][:200]} ({node.get('failureSummary', '')})"
        for rule in answer["violations"]
        for node in rule["nodes"]
    ]
