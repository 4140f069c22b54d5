"""What the Images view asks Airflow's database: task instances of this provider, and what they pushed.

First all of a run, with the small XCom of facts, for the sums and the order; then the previews of those that
a page shows, since these are a hundred times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, case, cast, exists, func, or_, select, tuple_

from airflow_provider_oxen.plugins.facts import LARGEST as LARGEST_FACTS
from airflow_provider_oxen.plugins.rows import LONGEST, Row
from airflow_provider_oxen.tasks.facts import FACTS
from airflow_provider_oxen.tasks.xcoms import KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["MOST", "RUNS", "pushed", "rows"]

RUNS = 25
"""Runs of a Dag that its view looks at, the newest ones."""

MOST = 10_000
"""Task instances that are looked at, of the newest runs first: half a second."""

TOO_LONG = "longer than is read"
"""Stands for the value of an XCom that is; it is none of a known shape."""

_OPERATORS = ("ImageGenerateOperator", "ImageBatchGenerateOperator", "_OxenImageDecoratedOperator")
"""Whose tasks are shown before they push anything. Those of a subclass are, from then on."""


def rows(
    session: Session, dag_id: str, run_id: str | None, task_id: str | None, map_index: int | None
) -> list[Row]:
    """Return task instances of one Dag without their previews, of the newest run first.

    :param run_id: None for the newest :data:`RUNS`.
    :param task_id: None for all.
    :param map_index: None for all.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    def same(key: str) -> Any:
        return and_(
            XComModel.dag_id == TaskInstance.dag_id,
            XComModel.run_id == TaskInstance.run_id,
            XComModel.task_id == TaskInstance.task_id,
            XComModel.map_index == TaskInstance.map_index,
            XComModel.key == key,
        )

    length = func.length(cast(XComModel.value, Text))
    found = (
        select(
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance.start_date,
            DagRun.run_after,
            case((length <= LARGEST_FACTS, XComModel.value), else_=None),
        )
        .join(DagRun, and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id))
        .outerjoin(XComModel, same(FACTS))
        .where(TaskInstance.dag_id == dag_id)
        .where(
            or_(
                TaskInstance.operator.in_(_OPERATORS),
                XComModel.key.is_not(None),
                # Of a subclass that an older version of this package ran.
                exists().where(same(KEY)).correlate(TaskInstance),
            )
        )
        .order_by(DagRun.run_after.desc(), DagRun.id.desc(), TaskInstance.task_id, TaskInstance.map_index)
        .limit(MOST + 1)
    )
    if run_id is None:
        newest = select(DagRun.id).where(DagRun.dag_id == dag_id).order_by(DagRun.run_after.desc())
        found = found.where(DagRun.id.in_(newest.limit(RUNS).subquery().select()))
    else:
        found = found.where(TaskInstance.run_id == run_id)
    if task_id is not None:
        found = found.where(TaskInstance.task_id == task_id)
    if map_index is not None:
        found = found.where(TaskInstance.map_index == map_index)
    return [Row(*found) for found in session.execute(found)]


def pushed(session: Session, dag_id: str, wanted: Sequence[Row]) -> dict[tuple[str, str, int], Any]:
    """Return the XComs with the previews of some task instances of one Dag, by run, task and index."""
    from airflow.models.xcom import XComModel

    length = func.length(cast(XComModel.value, Text))
    key = (XComModel.run_id, XComModel.task_id, XComModel.map_index)
    found = (
        select(
            *key,
            # What is longer than any of ours is not even fetched.
            case((length <= LONGEST, XComModel.value), else_=None),
            length,
        )
        .where(XComModel.dag_id == dag_id, XComModel.key == KEY)
        .where(tuple_(*key).in_([row.key for row in wanted]))
    )
    return {
        (run, task, index): TOO_LONG if (size or 0) > LONGEST else value
        for run, task, index, value, size in session.execute(found)
    }
