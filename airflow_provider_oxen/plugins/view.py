"""What one page of the Images view holds: the sums of all its tasks, and the tiles of some."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_oxen.plugins.facts import Totals
from airflow_provider_oxen.plugins.query import MOST, pushed, rows
from airflow_provider_oxen.plugins.rows import Row, order_of
from airflow_provider_oxen.plugins.tiles import Tile, tiles_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["PAGE", "Group", "View", "look"]

PAGE = 200
"""Tiles of a page at most."""

_AT_ONCE = 50
"""Task instances whose previews are fetched at once: those of a batch take half a megabyte."""


@dataclass
class Group:
    """The tiles of one run.

    :ivar href: of the run, relative to its Dag.
    """

    run_id: str
    href: str
    run_after: datetime | None
    tiles: list[Tile] = field(default_factory=list)


@dataclass
class View:
    """One page.

    :ivar totals: of all tasks that the view is about, not of those of this page.
    :ivar tasks: how many these are.
    :ivar cut: whether there are more, which nobody looked at.
    :ivar following: offset of the next page; None on the last.
    """

    totals: Totals
    tasks: int
    cut: bool
    groups: list[Group]
    following: int | None


def look(
    session: Session,
    dag_id: str,
    run_id: str | None,
    task_id: str | None,
    map_index: int | None,
    *,
    offset: int,
    may_open: Callable[[str], bool],
) -> View:
    """Return a page; see :func:`.query.rows` for the parameters.

    :param offset: task instances that the pages before it have shown.
    :param may_open: see :func:`.tiles.tiles_of`.
    """
    found = rows(session, dag_id, run_id, task_id, map_index)
    cut, found = len(found) > MOST, found[:MOST]
    runs = {run: place for place, run in enumerate(dict.fromkeys(row.run_id for row in found))}
    found.sort(key=lambda row: (runs[row.run_id], row.order))
    totals = Totals.of((row.kind, row.facts) for row in found)
    groups: list[Group] = []
    room, taken = PAGE, offset
    for row, value in _with_images(session, dag_id, found[offset : offset + PAGE]):
        new = list(tiles_of(row, value, may_open))
        if len(new) > room:
            break
        if not groups or groups[-1].run_id != row.run_id:
            groups.append(Group(row.run_id, f"runs/{quote(row.run_id, safe='')}", row.run_after))
        groups[-1].tiles += new
        room -= len(new)
        taken += 1
    for group in groups:
        group.tiles.sort(key=lambda tile: order_of(tile.kind))
    return View(totals, len(found), cut, groups, taken if taken < len(found) else None)


def _with_images(session: Session, dag_id: str, found: list[Row]) -> Iterator[tuple[Row, Any]]:
    for first in range(0, len(found), _AT_ONCE):
        part = found[first : first + _AT_ONCE]
        values = pushed(session, dag_id, part)
        for row in part:
            yield row, values.get(row.key)
