"""The places of a task: for its images, and for its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_oxen.images import names
from airflow_provider_oxen.images.fetch import MAX_BYTES
from airflow_provider_oxen.images.storage import open_folder
from airflow_provider_oxen.jobs import filestore, stores
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.tasks.output import Output

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["open_output", "record_store", "state_store"]


def open_output(
    context: Context,
    storage_path: str | None,
    storage_conn_id: str | None,
    *,
    fingerprint: str = "",
    overwrite: bool = False,
    max_bytes: int = MAX_BYTES,
    storage_options: Mapping[str, Any] | None = None,
) -> Output:
    """Return the place that a task's arguments name. Nothing is written yet.

    :raises OxenInvalidRequest: if the path is not valid, or its driver is missing.
    """
    ti = context["ti"]
    identity = Identity.of(ti)
    stem, folder, given = names.default_stem(ti.task_id, identity.key), None, ""
    if storage_path is not None:
        where, stem = names.split(storage_path, stem)
        given = names.locate(storage_path, "storage_path")[1]
        folder = open_folder(where, storage_conn_id, storage_options)
    return Output(
        identity,
        identity.key,
        ti.try_number,
        fingerprint,
        folder,
        stem,
        overwrite,
        max_bytes,
        # When a task is cleared, Airflow adds its retries to max_tries, and one for the try that is over.
        ti.max_tries or 0,
        getattr(context.get("dag_run"), "clear_number", None),
        given,
    )


def state_store(context: Context) -> tuple[stores.StateStore | None, Any]:
    """Return Airflow's task state store, and its value for "does not expire"; before 3.3 there is none."""
    state = cast("stores.StateStore | None", context.get("task_state_store"))
    if state is None:
        return None, None
    # Airflow versions with the store have this constant; the compat provider does not.
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    return state, NEVER_EXPIRE


def record_store(context: Context, output: Output) -> stores.RecordStore:
    """Return the place of the task's record: Airflow's store, a file beside the output, both, or none."""
    state, never = state_store(context)
    kept = stores.StateRecordStore(state, output.identity.key, never) if state is not None else None
    file = None
    if output.folder is not None:
        file = filestore.FileRecordStore(output.folder, output.stem, output.identity.key, output.writer_id)
    if kept and file:
        return stores.BothRecordStores(kept, file)
    return kept or file or stores.NoRecordStore()
