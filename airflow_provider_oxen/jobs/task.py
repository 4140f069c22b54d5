"""What the protocol must know of a task, and of what its user wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_oxen.jobs.record import Endpoint, Record

__all__ = ["Task", "changed", "comes_back", "names_itself"]

OnUnknown = Literal["fail", "adopt", "resubmit"]
OnChanged = Literal["fail", "submit"]


@dataclass(frozen=True)
class Task:
    """One try of a task instance.

    :param identity: key of the task instance.
    :param fingerprint: of the request.
    :param origin: of the hub.
    :param namespace: that is billed.
    :param endpoint: where a new request goes.
    :param nonce: a fresh secret for this try.
    :param try_number: from 1.
    :param clearing: a number that grows whenever the task is cleared, and at no other time.
    :param has_home: whether a record can be kept.
    :param began: unix seconds before which this task has sent nothing, where no record tells.
    :param overwrite: make another image in place of one that is kept.
    :param lookup_grace: seconds after which a request that was accepted must be in the hub's lists.
    :param max_cost: USD that all submissions for one image may cost.
    """

    identity: str
    fingerprint: str
    origin: str
    namespace: str | None
    endpoint: Endpoint
    nonce: str
    try_number: int = 1
    clearing: int = 1
    has_home: bool = True
    began: float | None = None
    overwrite: bool = False
    on_unknown_outcome: OnUnknown = "fail"
    on_changed_request: OnChanged = "fail"
    lookup_grace: float = 60.0
    max_cost: float | None = None


def comes_back(task: Task, record: Record) -> bool:
    """Whether the next try finds the job again: by the record, or certainly in the lists of the queue."""
    return task.has_home or (record.endpoint == "queue" and names_itself(record))


def changed(task: Task, record: Record) -> list[str]:
    """Return in what a record's job differs from what is asked for now."""
    pairs = {
        "request": (task.fingerprint, record.fingerprint),
        "hub": (task.origin, record.origin),
        "namespace": (task.namespace, record.namespace),
    }
    return [name for name, (wanted, found) in pairs.items() if wanted != found]


def names_itself(record: Record) -> bool:
    """Whether what was sent holds something that tells its rows from any other."""
    return record.body.get("seed") is not None or record.body.get("target_directory") is not None
