"""Foreign text made fit for a message, a log line or a file: without what may be a signature."""

from __future__ import annotations

import re

__all__ = ["without_queries", "without_query"]

_USER = re.compile(r"(?<=//)[^\s/?#@\"'<>]*@")
# Begins only where a word begins, and never goes back: a prompt may be megabytes long.
_QUERY = re.compile(r"(?<![^\s?#\"'<>])([^\s?#\"'<>]++)[?#][^\s\"'<>]*")


def without_query(url: str) -> str:
    """Return a URL without user, query and fragment: fit for a log line, whatever was signed."""
    return without_queries("".join(url.split()))


def without_queries(text: str) -> str:
    """Return a text in which nothing that looks like a path or a URL has a user, query or fragment."""
    return _QUERY.sub(lambda found: found[1] if "/" in found[1] else found[0], _USER.sub("", text))
