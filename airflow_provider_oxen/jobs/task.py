"""What the protocol must know about a task, and about what its user wants."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from airflow_provider_oxen.jobs.record import Endpoint, Record

__all__ = [
    "Identity",
    "Task",
    "changed",
    "cleared",
    "is_identifiable",
    "is_recoverable",
    "nonce_of",
    "try_facts",
]

OnUnknown = Literal["fail", "adopt", "resubmit"]
OnChanged = Literal["fail", "submit"]


class Identity(NamedTuple):
    """A task instance, independent of the try.

    :ivar map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @classmethod
    def of(cls, ti: Any) -> Identity:
        """Return the identity of a task instance of Airflow."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)

    @property
    def key(self) -> str:
        """The identity as 64 hexadecimal characters, for file names and derived seeds."""
        return hashlib.sha256(json.dumps(list(self)).encode()).hexdigest()


@dataclass(frozen=True)
class Task:
    """One try of a task instance.

    :param identity: key of the task instance.
    :param namespace: the namespace that is billed.
    :param nonce: a fresh secret for this try.
    :param try_number: from 1.
    :param clear_count: the task's ``max_tries``; Airflow changes it when a task is cleared.
    :param clear_number: how often the Dag run was cleared, for any of its tasks; None if not known.
    :param has_store: whether a record can be kept.
    :param unsure: whether an earlier try may have sent something although there is no record.
    :param begins: whether to record before anything else that nothing was sent yet.
    :param began: unix seconds before which this task has sent nothing, if there is no record.
    :param overwrite: make another image in place of a kept one.
    :param lookup_grace: seconds after which an accepted request must be in the hub's lists.
    :param max_cost: the most USD that all submissions for one image may cost.
    :param max_retries: how often a request that was refused for now is sent again in this try.
    :param asked: the request as the user made it; None if it is not available.
    :param place: what a derived seed belongs to; None for the identity.
    """

    identity: str
    fingerprint: str
    origin: str
    namespace: str | None
    endpoint: Endpoint
    nonce: str
    try_number: int = 1
    clear_count: int = 1
    clear_number: int | None = None
    has_store: bool = True
    unsure: bool = False
    begins: bool = True
    began: float | None = None
    overwrite: bool = False
    cancel_on_timeout: bool = False
    on_unknown_outcome: OnUnknown = "fail"
    on_changed_request: OnChanged = "fail"
    lookup_grace: float = 60.0
    max_cost: float | None = None
    max_retries: int = 0
    place: str | None = None
    asked: Mapping[str, Any] | None = None


def try_facts(task: Task) -> dict[str, Any]:
    """Return the fields of a record that describe the try that writes it."""
    return {
        "clear_count": task.clear_count,
        "clear_number": task.clear_number,
        "try_number": task.try_number,
    }


def cleared(task: Task, record: Record) -> bool:
    """Return whether the task was cleared since the record was written, and not just retried by Airflow.

    ``max_tries`` alone does not show it: it stays unchanged, for example, if the Dag's file is gone. And a
    Dag run may be cleared for another of its tasks, while this one is only retried.
    """
    if record.clear_count != task.clear_count:
        return True
    known = record.clear_number is not None and task.clear_number is not None
    return known and (task.clear_number or 0) > (record.clear_number or 0) and record.is_over


def nonce_of(task: Task, number: int) -> str:
    """Return the nonce of an intent, which tells it from any other."""
    return hashlib.sha256(f"{task.nonce}/{number}".encode()).hexdigest()[:32]


def is_recoverable(task: Task, record: Record) -> bool:
    """Return whether the next try finds the job: by its record, or with certainty in the queue's lists."""
    return task.has_store or (record.endpoint == "queue" and is_identifiable(record))


def changed(task: Task, record: Record) -> list[str]:
    """Return in what a record's job differs from what is asked for now."""
    pairs = {
        "request": (task.fingerprint, record.fingerprint),
        "hub": (task.origin, record.origin),
        "namespace": (task.namespace, record.namespace),
    }
    return [name for name, (wanted, found) in pairs.items() if wanted != found]


def is_identifiable(record: Record) -> bool:
    """Return whether the request holds something that tells its rows from any other."""
    return record.body.get("seed") is not None or record.body.get("target_directory") is not None
