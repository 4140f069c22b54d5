"""From what tasks have pushed to what the Images view shows. Pure, and it trusts nothing.

Whoever may write a Dag may push anything under the key: what is not of the known shape is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, Field, StringConstraints

from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.links import console
from airflow_provider_oxen.tasks.xcoms import MAX_IMAGES

__all__ = ["Row", "Tile", "tiles_of"]

_PREVIEW = re.compile(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/]{1,16400}={0,2}")
"""What :func:`~.preview.preview` returns."""

_STATES = {
    None: ("open", "Not begun"),
    "scheduled": ("open", "Scheduled"),
    "queued": ("open", "Queued"),
    "running": ("open", "Running"),
    "deferred": ("open", "Waiting for the hub"),
    "up_for_retry": ("open", "Failed, will be tried again"),
    "up_for_reschedule": ("open", "Waiting"),
    "restarting": ("open", "Restarting"),
    "success": ("none", "Done"),
    "failed": ("failed", "Failed"),
    "upstream_failed": ("failed", "Not run: a task before it failed"),
    "skipped": ("none", "Skipped"),
    "removed": ("none", "Removed"),
}
"""What is shown of a task instance without images, as :class:`Tile` has it, and its state in words."""

LONGEST = 4 * 1024 * 1024
"""Bytes of an XCom that is read: ten times what the largest of ours has."""

VALUES = 10_000
"""Values in an XCom that is read."""

_Text = Annotated[str, StringConstraints(max_length=4000)]
_Number = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
_Whole = Annotated[int, Field(ge=0, lt=2**63)]


class _Image(BaseModel):
    """An image, as :mod:`~airflow_provider_oxen.tasks.xcoms` pushes it."""

    id: _Text | None = None
    prompt: _Text | None = None
    model: _Text | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] | None = None
    cost: _Number | None = None
    status: Literal["generated", "reused", "failed", "unknown"] | None = None
    width: _Whole | None = None
    height: _Whole | None = None
    bytes: _Whole | None = None
    path: _Text | None = None
    error: _Text | None = None
    preview: Annotated[str, StringConstraints(max_length=20_000)] | None = None


class _Pushed(BaseModel):
    total: _Whole
    images: list[_Image] = Field(max_length=MAX_IMAGES)


@dataclass(frozen=True)
class Row:
    """A task instance, and what it has pushed.

    :ivar state: Airflow's word; None before it is scheduled.
    :ivar value: of the XCom as the database holds it; None where there is none.
    """

    run_id: str
    task_id: str
    map_index: int
    state: str | None
    value: Any = None


@dataclass(frozen=True)
class Tile:
    """One place of the grid.

    :ivar kind: ``image``, ``open``, ``failed`` or ``none``.
    :ivar state: in words.
    :ivar task: its name; of a mapped task with its index.
    :ivar href: of the task instance, relative to Airflow's root.
    :ivar facts: label and text, in the order they are shown.
    :ivar link: to the file in its store's console; None where there is no such page.
    """

    kind: str
    state: str
    task: str
    run_id: str
    href: str
    title: str = ""
    preview: str | None = None
    error: str | None = None
    path: str | None = None
    link: str | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)


def tiles_of(row: Row) -> Iterator[Tile]:
    """Yield what is shown of a task instance, at most one tile more than :data:`~.xcoms.MAX_IMAGES`."""
    pushed = _read(row.value)
    own: dict[str, Any] = {"task": _task(row), "run_id": row.run_id, "href": _href(row)}
    kind, state = _STATES.get(row.state, ("open", str(row.state)))
    kept = [image for image in pushed.images if image.status] if pushed else []
    for image in kept:
        yield _image_tile(image, own)
    more = (pushed.total if pushed else 0) - len(kept)
    if not kept:
        yield Tile(kind, state, title=_said(row, pushed), **own)
    elif kind == "open":
        yield Tile(kind, state, title=f"{len(kept)} so far", **own)
    elif more > 0:
        yield Tile("none", state, title=f"{more:,} more of this task are not shown here.", **own)


def _said(row: Row, pushed: _Pushed | None) -> str:
    asked = pushed.images[0].prompt if pushed and pushed.images else None
    if asked:
        return asked
    if pushed and pushed.total > 1:
        return f"{pushed.total:,} prompts"
    if row.value is not None and pushed is None:
        return "Its previews are not readable here: a custom XCom backend keeps them elsewhere."
    if row.state == "success":
        return "It pushed no previews."
    return ""


def _image_tile(image: _Image, own: dict[str, Any]) -> Tile:
    bad = image.status in ("failed", "unknown")
    words = {"generated": "Generated", "reused": "Reused", "failed": "Failed", "unknown": "Outcome unknown"}
    small = image.preview if image.preview and _PREVIEW.fullmatch(image.preview) else None
    return Tile(
        "failed" if bad else "image",
        words[str(image.status)],
        title=image.prompt or image.id or "",
        preview=small,
        error=image.error,
        path=image.path,
        link=console(image.path),
        facts=list(_facts(image)),
        **own,
    )


def _facts(image: _Image) -> Iterator[tuple[str, str]]:
    if image.id:
        yield "Id", image.id
    if image.model:
        yield "Model", image.model
    if image.seed is not None:
        yield "Seed", str(image.seed)
    if image.width and image.height:
        size = f"{image.width:,} × {image.height:,}"
        yield "Size", f"{size}, {_bytes(image.bytes)}" if image.bytes else size
    if image.cost is not None:
        yield "Cost", f"${image.cost:.4f}".rstrip("0").rstrip(".")


def _bytes(number: int) -> str:
    return f"{number / 1_000_000:.1f} MB" if number >= 1_000_000 else f"{max(1, number // 1000):,} kB"


def _read(value: Any) -> _Pushed | None:
    """Return what was pushed, None where it is not of the known shape."""
    try:
        # Airflow keeps an XCom's JSON as a JSON text.
        return _Pushed.model_validate(
            loads(value, longest=LONGEST, many=VALUES) if isinstance(value, str) else value
        )
    except (ValueError, RecursionError):
        return None


def _task(row: Row) -> str:
    return row.task_id if row.map_index < 0 else f"{row.task_id} [{row.map_index}]"


def _href(row: Row) -> str:
    run, task = quote(row.run_id, safe=""), quote(row.task_id, safe="")
    mapped = "" if row.map_index < 0 else f"/mapped/{row.map_index}"
    return f"runs/{run}/tasks/{task}{mapped}"
