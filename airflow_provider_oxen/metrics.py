"""The metrics that the provider sends through Airflow: every name, and what it means.

If ``[metrics]`` is not set up, Airflow drops them. A metric that cannot be sent never fails a task.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["batch", "failed", "image", "paid", "retried", "waiting"]

GENERATED = "oxen.images.generated"
"""Counter: images that were generated and kept."""

REUSED = "oxen.images.reused"
"""Counter: images that already existed, at no cost."""

FAILED = "oxen.images.failed"
"""Counter: tries of a task, and prompts of a batch, that gave no image."""

COST = "oxen.cost.microdollars"
"""Counter: millionths of a USD that the hub says it has charged, also for images that were lost. The hub
states a charge only for jobs in its queue."""

LATENCY = "oxen.images.latency"
"""Timer, in milliseconds: from the request for a single image until it is kept, including the wait in the
queue."""

BATCH = "oxen.batches.duration"
"""Timer, in milliseconds: a try of a batch in the worker, without the wait in the triggerer."""

RETRIES = "oxen.retries"
"""Counter: tries of a task after its first."""

WAITING = "oxen.jobs.waiting"
"""Gauge: generations that a process waits for over one connection."""

_MILLION = 1_000_000


def image(result: Mapping[str, Any], endpoint: str, asked_at: float | None, counted: float = 0.0) -> None:
    """Count what a task for a single image has kept.

    :param asked_at: unix seconds of the request; None if nothing was requested.
    :param counted: the part of the cost, in USD, that an earlier try has already counted.
    """
    tags = {"model": str(result.get("model")), "endpoint": endpoint}
    if result["reused"]:
        _incr(REUSED, len(result["images"]), tags)
        return
    _incr(GENERATED, len(result["images"]), tags)
    _incr(COST, max(0, round(((result.get("cost") or 0) - counted) * _MILLION)), tags)
    if asked_at is not None:
        _timing(LATENCY, (time.time() - asked_at) * 1000, tags)


def paid(model: str | None, endpoint: str, cost: float) -> None:
    """Count what the hub has charged for an image that was lost.

    :param cost: USD.
    """
    _incr(COST, round(cost * _MILLION), {"model": str(model), "endpoint": endpoint})


def batch(here: Mapping[str, float], endpoint: str, seconds: float) -> None:
    """Count the results of a batch in one process; called once.

    :param here: the number of prompts ``generated``, ``reused`` and ``failed``, and the ``cost`` in USD that
        the hub stated for all of them.
    """
    tags = {"endpoint": endpoint}
    for name, what in ((GENERATED, "generated"), (REUSED, "reused"), (FAILED, "failed")):
        _incr(name, int(here[what]), tags)
    _incr(COST, round(here["cost"] * _MILLION), tags)
    _timing(BATCH, seconds * 1000, tags)


def retried(try_number: int) -> None:
    """Count a try that is not the first.

    :param try_number: from 1.
    """
    if try_number > 1:
        _incr(RETRIES, 1, {})


def failed() -> None:
    """Count a try of a task for a single image that gave none."""
    _incr(FAILED, 1, {})


def waiting(conn_id: str, number: int) -> None:
    """Send how many generations are waited for."""
    with suppress(Exception):
        _stats().gauge(WAITING, number, tags={"conn_id": conn_id})


def _incr(name: str, count: int, tags: Mapping[str, str]) -> None:
    if count:
        with suppress(Exception):
            _stats().incr(name, count, tags=dict(tags))


def _timing(name: str, milliseconds: float, tags: Mapping[str, str]) -> None:
    with suppress(Exception):
        _stats().timing(name, milliseconds, tags=dict(tags))


_CORE = "airflow._shared.observability.metrics.stats"


def _stats() -> Any:
    """Return the ``Stats`` that this process has set up: Airflow 3.2 and newer have two.

    A task's process sets up the SDK's, which the compat provider returns. The triggerer sets up the core's,
    and the SDK's would send nothing there. If both are set up, both send.
    """
    from airflow.providers.common.compat.sdk import Stats

    core: Any = sys.modules.get(_CORE)
    return core.Stats if getattr(core, "_factory", None) else Stats
