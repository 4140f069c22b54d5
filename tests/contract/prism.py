"""Prism (``@stoplight/prism-cli``) as a server on loopback."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

CLI = Path(__file__).parent / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"

PATIENCE = 60.0
"""Seconds that it gets to start, which takes it some two."""

_LISTENS = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@contextlib.contextmanager
def prism(*arguments: str | Path) -> Iterator[str]:
    """Run Prism and give its URL; it ends with the context.

    :param arguments: ``mock`` or ``proxy`` and what belongs to it; it is told host, port and ``--errors``, by
        which what breaks the contract is refused.
    """
    # Not more talkative: "debug" tells every header.
    ours = ("--host", "127.0.0.1", "--port", "0", "--errors", "--verboseLevel", "info")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "OXEN")) and not name.lower().endswith("_proxy")
    }
    process = subprocess.Popen(
        ["node", str(CLI), *map(str, arguments), *ours],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment | {"NO_UPDATE_NOTIFIER": "1"},
    )
    reader = _Reader(process)
    try:
        yield reader.url()
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.thread.join()


class _Reader:
    """Reads what Prism says, so that it never waits for a reader; keeps the end of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: collections.deque[str] = collections.deque(maxlen=20)
        self.known = threading.Event()
        self.address: str | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def url(self) -> str:
        """Return where it listens.

        :raises SystemExit: where it does not come to that.
        """
        self.known.wait(PATIENCE)
        if self.address is None:
            raise SystemExit("Prism did not start:\n" + "".join(self.said))
        return self.address

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                self.said.append(_COLOURS.sub("", line))
                if found := _LISTENS.search(self.said[-1]):
                    self.address = found[1]
                    self.known.set()
        self.known.set()
