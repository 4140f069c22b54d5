"""A small XCom of what became of a task and what it cost, for the Images view: no pictures, no links.

The view adds these up over a whole run. They are pushed when a task ends or fails, whatever ``previews`` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from airflow_provider_oxen.api.errors import OxenError, OxenOutcomeUnknown, OxenOvertaken
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.tasks.assets import plain
from airflow_provider_oxen.tasks.xcoms import has_views, warn_on_failure

__all__ = ["ERROR", "FACTS", "BatchFacts", "TaskFacts"]

FACTS = "oxen_facts"
"""Key of the XCom."""

ERROR = 1000
"""Characters of an error in it."""

_STATUSES = ("generated", "reused", "failed", "unknown")


class TaskFacts:
    """Pushes those of one task; where Airflow does not take them, a warning is logged."""

    def __init__(self, ti: Any, log: Any) -> None:
        self._ti = ti
        self._log = log
        self._last: dict[str, Any] = {}

    def push_result(self, result: Mapping[str, Any]) -> None:
        """Push what a single operator's result says; a reused image costs nothing."""
        count, reused, cost = len(result["images"]), bool(result["reused"]), result.get("cost")
        self._push(
            {
                "total": count,
                "reused" if reused else "generated": count,
                "cost": 0.0 if reused or cost is None else cost,
                "cost_unknown": int(not reused and cost is None),
            }
        )

    @contextmanager
    def noting_failure(self, *, waited: bool = False) -> Iterator[None]:
        """Push why the task fails and whether it was paid for.

        :param waited: whether it has waited for a generation, which may be paid for whatever failed since.
        """
        try:
            yield
        except OxenOvertaken:
            # Another try is at work: the facts are its own by now.
            raise
        except OxenError as error:
            facts = self._last or self._unsummed(error, waited)
            spent = "yes" if facts.get("cost") else facts.get("spent", error.spent)
            reason = redacted_line(error.message, ERROR) or type(error).__name__
            self._push({**facts, "spent": spent, "error": reason})
            raise

    def _unsummed(self, error: OxenError, waited: bool) -> dict[str, Any]:
        """Return the facts of a failure before any were told."""
        spent = _spent(error, waited)
        outcome = "unknown" if isinstance(error, OxenOutcomeUnknown) else "failed"
        return {"total": 1, outcome: 1, "cost": 0.0, "cost_unknown": int(spent != "no"), "spent": spent}

    def _push(self, facts: dict[str, Any]) -> None:
        self._last = facts
        if has_views():
            with warn_on_failure(self._log, FACTS):
                self._ti.xcom_push(key=FACTS, value=facts)


class BatchFacts(TaskFacts):
    """Pushes those of a batch. Whatever it fails with, they never count a row that nobody has looked at."""

    def push_batch(self, result: Mapping[str, Any], *, console: bool) -> None:
        """Push a batch's sums, its first failures, and where its contact sheet is.

        :param result: of the operator.
        :param console: whether the store is the one that its URL names, and has a web console.
        """
        self.add_up(result, console=console)
        self._push(self._last)

    def add_up(self, result: Mapping[str, Any], *, console: bool) -> None:
        """Keep the sums of a batch that is about to fail, for when it does; see :meth:`push_batch`."""
        self._last = {
            "total": result["prompts"],
            **{name: result[name] for name in (*_STATUSES, "not_sent", "cost", "cost_unknown")},
            "index": plain(result["index"]),
            "console": console,
            "failures": result["failures"],
        }

    def _unsummed(self, error: OxenError, waited: bool) -> dict[str, Any]:
        """Return what the task told before it was deferred: the rows that it waited for are unknown still."""
        told: Any = None
        if waited and has_views():
            with suppress(Exception):
                place = {"task_ids": self._ti.task_id, "map_indexes": self._ti.map_index}
                told = self._ti.xcom_pull(key=FACTS, **place)
        if isinstance(told, Mapping) and not told.get("uncounted"):
            return {**told, "spent": _spent(error, waited)}
        # Earlier tries may have paid for rows.
        return {"uncounted": True, "spent": _spent(error, waited or (self._ti.try_number or 1) > 1)}


def _spent(error: OxenError, waited: bool) -> str:
    return "unknown" if waited and error.spent == "no" else error.spent
