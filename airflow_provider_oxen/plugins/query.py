"""What the Images view asks Airflow's database: task instances of this provider, and what they pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Text, and_, case, cast, func, or_, select

from airflow_provider_oxen.plugins.tiles import LONGEST, Row
from airflow_provider_oxen.tasks.xcoms import KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["RUNS", "rows"]

RUNS = 25
"""Runs of a Dag that its view looks at, the newest ones."""

_TOO_LONG = "longer than is read"
"""Stands for the value of an XCom that is; it is none of a known shape."""

_OPERATORS = ("ImageGenerateOperator", "ImageBatchGenerateOperator", "_OxenImageDecoratedOperator")
"""Whose tasks are shown before they push anything. Those of a subclass are, from then on."""


def rows(
    session: Session,
    dag_id: str,
    run_id: str | None,
    task_id: str | None,
    map_index: int | None,
    *,
    offset: int,
    limit: int,
) -> list[Row]:
    """Return task instances of one Dag, of the newest run first.

    :param run_id: None for the newest :data:`RUNS`.
    :param task_id: None for all.
    :param map_index: None for all.
    """
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel

    length = func.length(cast(XComModel.value, Text))
    pushed = and_(
        XComModel.dag_id == TaskInstance.dag_id,
        XComModel.run_id == TaskInstance.run_id,
        XComModel.task_id == TaskInstance.task_id,
        XComModel.map_index == TaskInstance.map_index,
        XComModel.key == KEY,
    )
    runs = and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id)
    found = (
        select(
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            # What is longer than any of ours is not even fetched.
            case((length <= LONGEST, XComModel.value), else_=None),
            length,
        )
        .join(DagRun, runs)
        .outerjoin(XComModel, pushed)
        .where(TaskInstance.dag_id == dag_id)
        .where(or_(XComModel.key.is_not(None), TaskInstance.operator.in_(_OPERATORS)))
        .order_by(DagRun.run_after.desc(), DagRun.id.desc(), TaskInstance.task_id, TaskInstance.map_index)
        .offset(offset)
        .limit(limit)
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
    return [
        Row(run, task, index, state, _TOO_LONG if (size or 0) > LONGEST else value)
        for run, task, index, state, value, size in session.execute(found)
    ]
