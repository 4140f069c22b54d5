"""From what tasks have pushed to what the Images view shows. Pure, and it trusts nothing.

Whoever may write a Dag may push anything under the key: what is not of the known shape is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_oxen.images.pages import money
from airflow_provider_oxen.links import console
from airflow_provider_oxen.plugins.facts import Facts
from airflow_provider_oxen.plugins.rows import Image, Pushed, Row, read_images

__all__ = ["Tile", "tiles_of"]

_PREVIEW = re.compile(r"data:image/(?:jpeg|webp);base64,[A-Za-z0-9+/]{1,16400}={0,2}")
"""What :func:`~.preview.preview` returns."""

_WORDS = {"generated": "Generated", "reused": "Reused", "failed": "Failed", "unknown": "Outcome unknown"}

_ARGUMENTS = ("image_size", "num_inference_steps", "target_namespace", "response_format")
"""Parameters of a request that the operator has arguments for; the others go into ``model_params``."""


@dataclass(frozen=True)
class Tile:
    """One place of the grid.

    :ivar kind: ``image``, ``open``, ``failed``, ``none`` or ``batch``.
    :ivar state: in words.
    :ivar task: its name; of a mapped task with its index.
    :ivar href: of the task instance, relative to its Dag.
    :ivar key: names the tile on its page, also after that was loaded again.
    :ivar try_number: of the task; 0 where it has not begun.
    :ivar since: when the try of a task that is under way began.
    :ivar paid: whether money was spent, in words; of failures.
    :ivar link: to the file in its store's console; None where there is no such page.
    :ivar image: its index among those of its task, where its original may be asked for.
    :ivar facts: label and text, in the order they are shown.
    :ivar parameters: of the request, name and text.
    :ivar code: the request as Python.
    :ivar batch: the sums of a batch, and its first failures.
    :ivar waits: whether the batch's unknown rows are under way.
    """

    kind: str
    state: str
    task: str
    run_id: str
    href: str
    key: str = ""
    task_id: str = ""
    map_index: int = -1
    try_number: int = 0
    since: datetime | None = None
    title: str = ""
    preview: str | None = None
    error: str | None = None
    paid: str | None = None
    path: str | None = None
    link: str | None = None
    image: int | None = None
    model: str | None = None
    seed: int | None = None
    cost: float | None = None
    facts: list[tuple[str, str]] = field(default_factory=list)
    parameters: list[tuple[str, str]] = field(default_factory=list)
    code: str | None = None
    batch: Facts | None = None
    waits: bool = False


def tiles_of(
    row: Row, value: Any = None, may_open: Callable[[str], bool] = lambda path: False
) -> Iterator[Tile]:
    """Yield what is shown of a task instance, at most one tile more than :data:`~.xcoms.MAX_IMAGES`.

    :param value: of its XCom with the previews, as the database holds it; None where there is none.
    :param may_open: whether the view may open the file of this path.
    """
    pushed = read_images(value) if value is not None else None
    facts = row.facts
    own: dict[str, Any] = {
        "task": row.task, "run_id": row.run_id, "href": row.href, "task_id": row.task_id,
        "map_index": row.map_index, "try_number": row.try_number,
        "since": row.since if row.kind == "open" else None,
    }  # fmt: skip
    key = f"{row.run_id}/{row.task}"
    shown = [(n, image) for n, image in enumerate(pushed.images) if image.status] if pushed else []
    if facts and facts.index:
        yield _batch_tile(row, facts, shown, key, own)
        # Its failures are listed in the first tile.
        shown = [(n, image) for n, image in shown if image.status in ("generated", "reused")]
    elif not shown or row.kind in ("open", "failed"):
        yield _task_tile(row, value, pushed, len(shown), key, own)
    for n, image in shown:
        link = console(image.path) if pushed and pushed.console else None
        yield _image_tile(row, image, n, link, may_open, f"{key}/{n}", own)
    more = (pushed.total if pushed else 0) - len(shown)
    if shown and more > 0 and row.kind == "none" and not (facts and facts.index):
        yield Tile("none", row.words, title=f"{more:,} more of this task are not shown here.", key=key, **own)


def _batch_tile(
    row: Row, facts: Facts, shown: list[tuple[int, Image]], key: str, own: dict[str, Any]
) -> Tile:
    if row.state == "running":
        # Its sums are of when the try began, or of when it was deferred.
        kept = f"{facts.generated + facts.reused:,} had an image before."
        return Tile("open", row.words, key=key, title=f"{facts.total:,} prompts, of which {kept}", **own)
    bad = row.kind == "failed" or facts.failed or facts.unknown
    waits = row.kind == "open" and row.state != "up_for_retry"
    if waits:
        # What is under way is no failure yet.
        failed = [failure for failure in facts.failures if failure.status == "failed"]
        facts = facts.model_copy(update={"failures": failed})
    return Tile(
        "open" if row.kind == "open" else "failed" if bad else "batch",
        "Done with failures" if bad and row.state == "success" else row.words,
        key=key,
        title=_rest(facts, shown),
        error=facts.error,
        paid=facts.paid if bad and not waits else None,
        path=facts.index,
        link=console(facts.index) if facts.console else None,
        cost=facts.cost,
        batch=facts,
        waits=waits,
        **own,
    )


def _rest(facts: Facts, shown: list[tuple[int, Image]]) -> str:
    kept = facts.generated + facts.reused
    seen = sum(image.status in ("generated", "reused") for _, image in shown)
    said = f"{kept:,} of {facts.total:,} prompts have an image."
    return said if seen >= kept else f"{said} {kept - seen:,} more of this task are not shown here."


def _task_tile(row: Row, value: Any, pushed: Pushed | None, kept: int, key: str, own: dict[str, Any]) -> Tile:
    facts = row.facts
    asked = pushed.images[0] if pushed and pushed.images and not kept else Image()
    title = f"{kept} so far" if kept else _said(row, value, pushed, asked)
    failed = row.state in ("failed", "up_for_retry")
    return Tile(
        row.kind, row.words, key=key, title=title, model=asked.model,
        error=facts.error if facts else None, paid=facts.paid if facts and failed else None,
        facts=[("Model", asked.model)] if asked.model else [], **own,
    )  # fmt: skip


def _said(row: Row, value: Any, pushed: Pushed | None, asked: Image) -> str:
    if row.facts and row.facts.uncounted:
        return "It failed before it could count its prompts: how many have an image is not known."
    if asked.prompt:
        return asked.prompt
    if pushed and pushed.total > 1:
        return f"{pushed.total:,} prompts"
    if value is not None and pushed is None:
        return "Its previews are not readable here: a custom XCom backend keeps them elsewhere."
    return "It pushed no previews." if row.state == "success" else ""


def _image_tile(
    row: Row,
    image: Image,
    n: int,
    link: str | None,
    may_open: Callable[[str], bool],
    key: str,
    own: dict[str, Any],
) -> Tile:
    bad = image.status in ("failed", "unknown")
    small = image.preview if image.preview and _PREVIEW.fullmatch(image.preview) else None
    opens = not bad and image.path is not None and may_open(image.path)
    return Tile(
        "failed" if bad else "image",
        _WORDS[str(image.status)],
        key=key,
        title=image.prompt or image.id or "",
        preview=small,
        error=image.error,
        path=image.path,
        link=link,
        image=n if opens else None,
        model=image.model,
        seed=image.seed,
        cost=image.cost,
        facts=list(_facts(image)),
        parameters=[(name, _text(value)) for name, value in (image.request or {}).items()],
        code=_code(row, image) if image.prompt else None,
        **own,
    )


def _facts(image: Image) -> Iterator[tuple[str, str]]:
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
        yield "Cost", money(image.cost)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _code(row: Row, image: Image) -> str:
    """Return the call that asks for the same image, in Python."""
    request = image.request or {}
    given: dict[str, Any] = {
        "task_id": row.task_id.rpartition(".")[2],
        "prompt": image.prompt,
        "model": image.model,
    }
    given |= {"seed": image.seed, **{name: request.get(name) for name in _ARGUMENTS}}
    rest = {name: value for name, value in request.items() if name not in _ARGUMENTS}
    lines = [f"    {name}={value!r},\n" for name, value in given.items() if value is not None]
    lines += [f"    model_params={rest!r},\n"] if rest else []
    return f"ImageGenerateOperator(\n{''.join(lines)})"


def _bytes(number: int) -> str:
    return f"{number / 1_000_000:.1f} MB" if number >= 1_000_000 else f"{max(1, number // 1000):,} kB"
