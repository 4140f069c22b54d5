"""Defer a batch, and read what Airflow has kept of it meanwhile."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NoReturn

from pydantic import Field, ValidationError

from airflow_provider_oxen.api.errors import OxenRecordError
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.budget import Sums
from airflow_provider_oxen.tasks.deferral import SLACK, TaskOperator, warn_before_deferral, with_arguments

__all__ = ["WAITED_FOR", "Deferral", "defer", "lost_record", "read_deferral"]

WAITED_FOR = "The generations that this task waited for may have been paid for."


class Deferral(Sums):
    """What Airflow keeps while the task is deferred. The record is trusted only together with it.

    :ivar folder: the batch's folder, as :func:`~.storage.open_folder` takes it; None: the operator's.
    :ivar record: name of the batch's record in that folder.
    :ivar sha256: hash of that file; None if an earlier version wrote it.
    :ivar jobs: how many generations were submitted and are waited for.
    :ivar series: the clearing of the task; None if an earlier version wrote it.
    :ivar anew: whether this very try has already begun the folder again.
    """

    folder: str | None = None
    storage_conn_id: str | None = None
    record: str
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    jobs: int = Field(0, ge=0, lt=2**63)
    series: str | None = None
    anew: bool = False


def defer(
    operator: TaskOperator, ti: Any, options: BatchArguments, deferral: Deferral, identity: str
) -> NoReturn:
    """Defer a task until the generations of its batch have ended.

    :param identity: key of the task instance.
    """
    from airflow_provider_oxen.triggers.batches import OxenBatchTrigger

    now, timeout = time.time(), options.timeout
    trigger = OxenBatchTrigger(
        record=deferral.record,
        folder=options.storage_path,
        storage_conn_id=options.storage_conn_id,
        identity=identity,
        jobs=deferral.jobs,
        oxen_conn_id=options.oxen_conn_id,
        poll_interval=options.poll_interval,
        deadline=None if timeout is None else now + timeout,
        patience=now + options.lookup_grace,
        deferred_at=now,
    )
    warn_before_deferral(ti, operator.log)
    operator.defer(
        trigger=trigger,
        method_name="execute_complete",
        kwargs={"batch": with_arguments(deferral.model_dump(mode="json"), options.as_json())},
        timeout=None if timeout is None else timedelta(seconds=timeout + SLACK),
    )


def read_deferral(kept: Mapping[str, Any] | None, event: Any, identity: str) -> Deferral:
    """Return what the task was deferred with.

    Earlier versions did not keep the record's name, and Airflow's ``dag.test()`` passes only the trigger's
    event.

    :param kept: what Airflow passed back; None if it was lost.
    :param event: the trigger's event.
    :param identity: key of the task instance.
    :raises OxenRecordError: if it is damaged, or names another task's record.
    """
    if not isinstance(kept, Mapping | None):
        raise _unfit(" (it is no mapping)")
    facts = dict(kept or {})
    seen = event if isinstance(event, Mapping) else {}
    facts.setdefault("record", seen.get("record") or f".batch-{identity[:16]}.jsonl")
    facts.setdefault("jobs", seen.get("jobs", 0))
    try:
        deferral = Deferral.model_validate(facts)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors(include_input=False))
        raise _unfit(f" ({fields})") from None
    if not re.fullmatch(rf"\.batch-{identity[:16]}(\.\d+-[0-9a-f]+)?\.jsonl", deferral.record):
        raise _unfit(": it names the record of another task")
    return deferral


def lost_record(deferral: Deferral, where: str) -> OxenRecordError:
    """Return the error for a task whose record is gone.

    :param where: the record, for people.
    """
    jobs = f"{deferral.jobs:,}" if deferral.jobs else "Some"
    unknown = f", and {deferral.spent_unknown:,} of unknown cost" if deferral.spent_unknown else ""
    return OxenRecordError(
        f"The record of the batch, {where}, is not there. {jobs} generations were submitted before this "
        f"task was deferred (${deferral.spent:,.2f} spent by then{unknown}). This worker does not see the "
        "folder in which the batch started, or somebody removed it.",
        money="Images may have been paid for.",
        remedy="Use object storage, or a disk that all workers share; then clear the task: it looks for what "
        "was paid for. With on_unknown_outcome='resubmit' it starts again instead, and pays again for what "
        "is not there.",
    )


def _unfit(why: str) -> OxenRecordError:
    return OxenRecordError(
        f"The state that Airflow kept of this batch while it was deferred cannot be used{why}.",
        money=WAITED_FOR,
        remedy="Clear the task to continue with them.",
    )
