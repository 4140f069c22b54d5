"""Foreign text made fit for a message, a log line or a file: without what may be a signature."""

from __future__ import annotations

import re

__all__ = ["without_queries", "without_query"]

# JSON may write a slash as "\/".
_USER = re.compile(r"(?:(?<=//)|(?<=/\\/))[^\s/?#\"<>]*@")
# A word with a slash in it, or one that "?name=" follows, and all that comes before the next white space: a
# quote may be a part of a query. Begins only where a word begins, and never goes back: a prompt may be
# megabytes long.
_QUERY = re.compile(
    r"(?<![^\s?#])([^\s?#/]*+/[^\s?#]*+|[^\s?#/]*+(?=\?[\w.~%\[\]-]++=))[?#](\S*+)",
)
_CLOSING = "\"'<>.,;:)]}"


def without_query(url: str) -> str:
    """Return a URL without user, query and fragment: fit for a log line, whatever was signed."""
    return re.split("[?#]", _USER.sub("", "".join(url.split())), maxsplit=1)[0]


def without_queries(text: str) -> str:
    """Return a text in which nothing that looks like a path or a URL has a user, query or fragment."""
    if not ("?" in text or "#" in text or "@" in text):
        return text
    return _QUERY.sub(_cut, _USER.sub("", text))


def _cut(found: re.Match[str]) -> str:
    """Return what is left of a word: also the quotes and stops after its query."""
    query = found[2]
    return found[1] + query[len(query.rstrip(_CLOSING)) :]
