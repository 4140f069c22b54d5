"""Whether a key or a signed link came out of the process that may know it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

SIGNED = re.compile(rb"[?&]signature=(?!\*\*\*)")


def find(home: Path, keys: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each file of an Airflow's home that holds what it must not.

    No file may hold a key, the database included. A signed link may stand in the database, where the
    record of an answered call is, but in no log.
    """
    secret = re.compile(b"|".join(re.escape(key.encode()) for key in keys))
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        name = path.relative_to(home)
        if secret.search(content):
            yield f"{name} holds a hub's key"
        if path.suffix == ".log" and (found := SIGNED.search(content)):
            yield f"{name} holds a signed link: …{_around(content, found.start())}…"


def _around(content: bytes, place: int) -> str:
    return content[max(0, place - 120) : place + 30].decode(errors="replace").replace("\n", " ")
