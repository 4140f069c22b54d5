"""Free questions about a job that may have been paid for, and what it means when there is no answer."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from airflow_provider_oxen.api.errors import OxenError, OxenPollError, OxenRecordError
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import is_another
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.steps import Look, Row, Step

__all__ = ["ask", "row_of"]


def ask(step: Look | Row, record: Record) -> Generator[Step, Any, Any]:
    """Put a free question about a job that may have been paid for.

    :raises OxenPollError: where there is no answer, so that nobody takes the job for one that cost nothing.
    """
    try:
        return (yield step)
    except OxenError as error:
        failed = OxenPollError(
            f"What became of {record.job} could not be learnt: {error} It may have been paid for; nothing "
            "more was sent.",
            status=error.status,
            retry_after=error.retry_after,
        )
        failed.retry_helps = error.retry_helps
        raise failed from None


def row_of(record: Record) -> Generator[Step, Any, Generation | None]:
    """Ask for the row of the record's generation.

    :raises OxenRecordError: where it is another job's.
    """
    row: Generation | None = yield from ask(Row(str(record.generation_id)), record)
    if row is not None and is_another(record.body, row):
        raise OxenRecordError(
            f"The hub's row of generation {record.generation_id} tells the model {row.model!r}; this task "
            f"has asked for {record.body.get('model')!r}: it is another's. One image may have been paid for; "
            "nothing more was sent. Look at the account's history; then delete the record and clear the task."
        )
    return row
