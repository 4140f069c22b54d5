"""Make foreign text safe for a message, a log line or a file: without the key, and without signatures.

This is the only module that knows what a secret looks like. Every text from the hub, a library or another
task goes through :func:`without_queries` before it is shortened or shown. Every error's own sentence goes
through :func:`scrub`, so that even a forgotten place shows no key.
"""

from __future__ import annotations

import re
import threading
from functools import lru_cache
from typing import Any

__all__ = [
    "LONG_KEY",
    "MAX_LINE_INPUT",
    "SHORTEST_KEY",
    "describe_error",
    "key_pattern",
    "redact",
    "redact_unless_echoed",
    "redacted_line",
    "register_key",
    "scrub",
    "sentence",
    "without_queries",
    "without_query",
]

SHORTEST_KEY = 5
"""From this many characters, a key is looked for in texts, as Airflow does; a shorter one is no secret."""

LONG_KEY = 8
"""From this many characters, a key is also looked for within words; a shorter one may be part of many."""

_LONGEST = 200
"""Characters kept of a short text from the hub, such as a status or the name of a model."""

_MOST = 100_000
"""Characters read of a foreign text: no prompt is longer, and no message is worth more."""

MAX_LINE_INPUT = 10_000
"""Characters read of a text of which only a line or two is kept; that takes 70 ms at worst."""

_SHOWN, _END = 10_000, 2_000
"""Most characters of a sentence, and of the part of its end that is kept: people read it, and a log holds
it."""

_keys: dict[str, re.Pattern[str]] = {}
"""The keys of the connections that this process has read."""

_learning = threading.Lock()

# Spellings of a character in a link that was percent-encoded, perhaps twice, or written as JSON.
_SLASH = r"(?:/|%(?:25)*2[fF])"
_ASKS = r"(?:[?#]|%(?:25)*(?:3[fF]|23)|\\u00(?:3[fF]|23))"
_IS = r"(?:=|%(?:25)*3[dD]|\\u003[dD])"
_PATH = rf"(?:[^\s?#%\\]|(?!{_ASKS})[%\\])"
_NAME = rf"(?:[^\s?#%\\/]|(?!{_ASKS}|{_SLASH})[%\\])"

# JSON may write a slash as "\/".
_USER = re.compile(
    r"(?:(?<=//)|(?<=/\\/))[^\s/?#\"<>]*@"
    r"|(?:(?<=%2F%2F)|(?<=%2f%2f)|(?<=%252F%252F))(?:(?!%(?:25)*(?:2[fF]|3[fF]|23))[^\s/?#\"<>])*%(?:25)*40"
)
# A word with a slash in it, or one followed by "?name=", and everything up to the next white space: a quote
# may be part of a query. It matches only at the beginning of a word, and never backtracks: a prompt may be
# megabytes long.
_QUERY = re.compile(
    rf"(?:(?<![^\s?#])|(?<=%3[fF])|(?<=%23))"
    rf"({_NAME}*+{_SLASH}{_PATH}*+|{_NAME}*+(?={_ASKS}[\w.~%\[\]-]{{1,100}}?{_IS})){_ASKS}(\S*+)",
)
# The rest of a query that has white space in it: no word of a sentence looks like this.
_REST = re.compile(
    r"(?:\s+(?!\S*://)(?:\S*[&=]\S*|\S*%[0-9A-Fa-f]{2}\S*|[0-9a-fA-F]{4,}(?!\S)"
    r"|(?=\S*[0-9])[\w%+/~.-]{5,}(?!\S)|[^\s\"'<>]{20,}(?!\S)))*+"
)
_UNFINISHED = re.compile(r"\s+\S++")
_CLOSING = "\"'<>.,;:)]}"

_GAP = r"\s*+"
_SIGNS = (
    r"signature|credential|security[_-]?token|token(?!s)|secret|passw(?:or)?d|api[_-]?key|access[_-]?key(?:[_-]?id)?"
    r"|key-pair-id"
)
_SIGNED = re.compile(
    rf"([\w.-]{{0,40}}?(?:{_SIGNS})(?:[\w.-]{{0,20}})|(?<![\w-])sig)({_IS})(?!\*\*\*)[^\s&\"'<>,;]*+"
    rf"|(?P<json>\"[\w.-]{{0,40}}?(?:{_SIGNS}|\bsig)[\w.-]{{0,20}}\\*\"\s*:\s*\\*\")[^\"\s]*+",
    re.IGNORECASE,
)
_SPACED = re.compile(
    rf"(?:{'|'.join(map(_GAP.join, ('signature', 'credential', 'token')))}|(?<![\w-])sig){_GAP}{_IS}{_GAP}",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+(?=\S*[0-9])[\w.~+/=-]{8,}", re.IGNORECASE)
_MARKS = re.compile(r"[?#@=%\\]|(?i:bearer|basic)\s|\"\s*:")


def register_key(key: str | None) -> None:
    """Remember a key for the life of the process, so that no text shows it. A short key is ignored."""
    global _keys
    if not key or len(key) < SHORTEST_KEY or key in _keys:
        return
    with _learning:
        # A key may be part of another: the longest comes first. A thread that reads the old dictionary now
        # can go on.
        known = {**_keys, key: key_pattern(key)}
        _keys = {one: known[one] for one in sorted(known, key=len, reverse=True)}


@lru_cache(maxsize=16)
def key_pattern(key: str) -> re.Pattern[str]:
    """Return the pattern that finds a key in a text that was folded, percent-encoded or escaped."""
    letters = (rf"(?:\\?{re.escape(mark)}|%(?:25)*{ord(mark):02x}|\\u00{ord(mark):02x})" for mark in key)
    if len(key) < LONG_KEY:
        return re.compile(rf"(?<![A-Za-z0-9]){''.join(letters)}(?![A-Za-z0-9])", re.IGNORECASE)
    return re.compile(_GAP.join(letters), re.IGNORECASE)


def redact(text: str) -> str:
    """Return a text without the keys that this process knows."""
    for pattern in _keys.values():
        text = pattern.sub("***", text)
    return text


def scrub(text: str) -> str:
    """Return a sentence of our own without keys and without the values of signatures."""
    text = redact(_encodable(text))
    if not _MARKS.search(text):
        return text
    return _BEARER.sub(r"\1 ***", _SIGNED.sub(_unsigned, text))


def sentence(text: str) -> str:
    """Return a sentence of our own that is safe for any log: without secrets, and not too long to read."""
    if len(text) > 2 * _MOST:
        text = text[:_MOST] + text[-_MOST:]
    text = scrub(text)
    # Quoted text stands in the middle; the end says what to do.
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - _END]} … {text[-_END:]}"


def without_query(url: str) -> str:
    """Return a URL without user, query and fragment, safe for a log line even if it was signed."""
    return scrub(re.split(_ASKS, _USER.sub("", "".join(url.split())), maxsplit=1)[0])


def without_queries(text: str, most: int = _MOST) -> str:
    """Return a foreign text without keys, and with its paths and URLs without user, query and fragment.

    :param most: characters that are read.
    """
    # Redact before cutting, to find a key that crosses the cut.
    text = redact(_encodable(text[: 2 * most]))[:most]
    if not _MARKS.search(text):
        return text
    text = _USER.sub("", _SPACED.sub(_joined, text))
    parts, at = [], 0
    while found := _QUERY.search(text, at):
        query = found[2]
        left = query.rstrip(_CLOSING)
        parts += [text[at : found.start()], found[1], query[len(left) :]]
        at = found.end()
        if len(left) == len(query):
            at = _end(text, at, query)
    return scrub("".join([*parts, text[at:]]))


def redacted_line(value: Any, limit: int = _LONGEST) -> str | None:
    """Return a foreign text on one line, redacted and then shortened; None if it is not text."""
    if not isinstance(value, str) or not (text := " ".join(without_queries(value, MAX_LINE_INPUT).split())):
        return None
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def redact_unless_echoed(value: Any, asked: Any) -> str | None:
    """Return the hub's name for something, redacted unless it exactly repeats what the user asked for."""
    return asked if isinstance(asked, str) and value == asked else redacted_line(value)


def describe_error(error: BaseException | None) -> str:
    """Return a library's error as its class and its redacted message."""
    return f"{type(error).__name__}: {without_queries(str(error))}"


def _encodable(text: str) -> str:
    """Return text that any log can write: half a surrogate pair is escaped."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _end(text: str, at: int, query: str) -> int:
    """Return where a query ends that may have white space in it."""
    if query.endswith(("=", "&", "%")) and (more := _UNFINISHED.match(text, at)):
        at = more.end()
    rest = _REST.match(text, at)
    return rest.end() if rest else at


def _unsigned(found: re.Match[str]) -> str:
    return f"{found['json']}***" if found["json"] else f"{found[1]}{found[2]}***"


def _joined(found: re.Match[str]) -> str:
    return "".join(found[0].split())
