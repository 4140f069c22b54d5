"""Turn the lines of a ``text/event-stream`` into messages. Pure: bytes in, messages out.

Follows the WHATWG's HTML standard, section "Server-sent events", without the ids: the hub sends none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["LONGEST", "Message", "Parser"]

LONGEST = 64 * 1024
"""Most bytes of one message, including lines without a name; the hub's have a few hundred."""

_BOM = b"\xef\xbb\xbf"
_END = re.compile(rb"\r\n|\n|\r")


class Message(NamedTuple):
    """One message: the lines between two blank ones.

    :ivar event: its name; ``message`` if it has none.
    """

    event: str
    data: str


class Parser:
    """Reads a stream piece by piece, wherever the pieces were cut."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._waiting = 0
        self._ends_half = False
        self._event = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Message]:
        """Return the messages that this piece completes.

        :raises ValueError: if a message is longer than any that the hub sends.
        """
        self._rest.append(piece)
        self._waiting += len(piece)
        messages = []
        # Join the pieces only when a line is complete: a long one may come byte by byte.
        if self._ends_half or _END.search(piece):
            messages = self._lines(b"".join(self._rest))
        if self._size + self._waiting > LONGEST:
            raise ValueError(f"a message is longer than {LONGEST:,} bytes")
        return messages

    def _lines(self, text: bytes) -> list[Message]:
        messages, start = [], 0
        self._ends_half = False
        for end in _END.finditer(text):
            if end[0] == b"\r" and end.end() == len(text):
                self._ends_half = True
                break
            message = self._line(text[start : end.start()])
            if message:
                messages.append(message)
            start = end.end()
        self._rest, self._waiting = [text[start:]], len(text) - start
        return messages

    def _line(self, line: bytes) -> Message | None:
        if not line:
            return self._dispatch()
        name, _, value = line.removeprefix(_BOM).partition(b":")
        value = value.removeprefix(b" ")
        # A line without a name is a comment, such as ": keep-alive".
        if name == b"event":
            self._event = value
        elif name == b"data":
            self._data.append(value)
            # An empty line takes up memory, too.
            self._size += len(value) + 8
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event or b"message", self._data
        self._event, self._data, self._size = b"", [], 0
        if not data:
            return None
        return Message(event.decode(errors="replace"), b"\n".join(data).decode(errors="replace"))
