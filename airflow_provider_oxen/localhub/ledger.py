"""What was paid: one entry for each billed image.

A synchronous call makes its entries at the instant it is accepted, a queued job when it has succeeded.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_oxen.localhub.draw import draw
from airflow_provider_oxen.localhub.picture import Picture
from airflow_provider_oxen.localhub.ready_made import ready_made

__all__ = ["Billed", "Damage", "Ledger"]

Damage = Literal["not_an_image", "truncated"]

NOT_AN_IMAGE = b"<!doctype html><html><title>Sign in</title><h1>Please sign in</h1></html>"


@dataclass
class Billed:
    """One billed image.

    The drawing is made when somebody asks for its bytes, so that a call costs no drawing that
    nobody looks at.

    :ivar time: unix seconds, by the hub's clock.
    :ivar cost: in USD.
    :ivar request: the whole body of the call.
    :ivar generation_id: of the job that made it; None for a synchronous call.
    :ivar damage: what is wrong with the bytes the hub hands out.
    """

    time: float
    cost: float
    namespace: str
    picture: Picture
    request: dict[str, Any]
    route: Literal["generate", "queue"] = "generate"
    generation_id: str | None = None
    damage: Damage | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @functools.cached_property
    def sha256(self) -> str:
        """Hexadecimal, of the undamaged bytes."""
        return hashlib.sha256(self._image()).hexdigest()

    def content(self, damage: Damage | None = None) -> bytes:
        """Return the bytes the hub hands out. May have to draw them: not for an event loop."""
        damage = damage or self.damage
        if damage == "not_an_image":
            return NOT_AN_IMAGE
        content = self._image()
        return content[: len(content) // 2] if damage == "truncated" else content

    async def acontent(self, damage: Damage | None = None) -> bytes:
        """Return the same to an event loop: what has to be drawn is drawn in a thread."""
        if self.picture.ready_made is not None:
            return self.content(damage)
        return await asyncio.to_thread(self.content, damage)

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as plain JSON values."""
        picture = self.picture
        return {
            "id": self.id,
            "time": self.time,
            "model": picture.model,
            "prompt": picture.prompt,
            "seed": picture.seed,
            "index": picture.index,
            "cost": self.cost,
            "namespace": self.namespace,
            "sha256": self.sha256,
            "width": picture.width,
            "height": picture.height,
            "media_type": picture.media_type,
            "route": self.route,
            "generation_id": self.generation_id,
            "request": self.request,
        }

    def _image(self) -> bytes:
        return draw(self.picture) if self.picture.ready_made is None else ready_made(self.picture)


class Ledger:
    """All billed images, oldest first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, Billed] = {}

    def add(self, entries: Sequence[Billed]) -> None:
        with self._lock:
            self._entries |= {entry.id: entry for entry in entries}

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def find(self, id: str) -> Billed | None:
        return self._entries.get(id)

    def entries(self) -> list[Billed]:
        with self._lock:
            return list(self._entries.values())

    def spent(self) -> float:
        """Return the sum of all costs in USD."""
        return round(sum(entry.cost for entry in self.entries()), 6)
