"""The lines of a ``text/event-stream`` become messages. Pure: bytes in, messages out.

By the rules of the WHATWG's HTML standard, section "Server-sent events". What it says of ids is left out:
the hub sends none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["LONGEST", "Message", "Parser"]

LONGEST = 1024 * 1024
"""Bytes of one message at most: the hub's have a few hundred."""

_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"\r\n|\n|\r")


class Message(NamedTuple):
    """What stands between two blank lines.

    :ivar event: its name; ``message`` where it has none.
    """

    event: str
    data: str


class Parser:
    """Reads a stream piece by piece, wherever the pieces were cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_begun = False
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Message]:
        """Return the messages that are whole with this piece.

        :raises ValueError: where one is longer than any that the hub sends.
        """
        text = self._rest + piece
        if not self._is_begun and not (len(text) < len(_BOM) and _BOM.startswith(text)):
            self._is_begun = True
            text = text.removeprefix(_BOM)
        messages, start = [], 0
        for end in _END.finditer(text):
            if end[0] == b"\r" and end.end() == len(text):
                break  # Half of a line end, perhaps.
            message = self._line(text[start : end.start()])
            if message:
                messages.append(message)
            start = end.end()
        self._rest = text[start:]
        if self._size + len(self._rest) > LONGEST:
            raise ValueError(f"a message is longer than {LONGEST:,} bytes")
        return messages

    def _line(self, line: bytes) -> Message | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        # One without a name is a comment, such as ": keep-alive".
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._data.append(value)
            self._size += len(value)
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or b"message", self._data
        self._event, self._data, self._size = b"", [], 0
        if not data:
            return None
        return Message(event.decode(errors="replace"), b"\n".join(data).decode(errors="replace"))
