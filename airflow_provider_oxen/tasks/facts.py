"""A small XCom of what became of a task and what it cost, for the Images view: no pictures, no links.

The view adds these up over a whole run. They are pushed when a task ends or fails, whatever ``previews`` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow_provider_oxen.api.errors import OxenError, OxenOutcomeUnknown, OxenOvertaken
from airflow_provider_oxen.api.redact import redacted_line
from airflow_provider_oxen.tasks.assets import plain
from airflow_provider_oxen.tasks.xcoms import has_views, warn_on_failure

__all__ = ["ERROR", "FACTS", "TaskFacts"]

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

    def push_batch(self, result: Mapping[str, Any]) -> None:
        """Push a batch's sums, its first failures, and where its contact sheet is."""
        self._push(
            {
                "total": result["prompts"],
                **{name: result[name] for name in (*_STATUSES, "not_sent", "cost", "cost_unknown")},
                "index": plain(result["index"]),
                "failures": result["failures"],
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
            spent = "unknown" if waited and error.spent == "no" else error.spent
            if not self._last:
                lost = isinstance(error, OxenOutcomeUnknown)
                self._last = {"total": 1, "unknown" if lost else "failed": 1, "cost": 0.0}
                self._last["cost_unknown"] = int(spent != "no")
            elif self._last["cost"]:
                spent = "yes"
            reason = redacted_line(error.message, ERROR) or type(error).__name__
            self._push({**self._last, "spent": spent, "error": reason})
            raise

    def _push(self, facts: dict[str, Any]) -> None:
        self._last = facts
        if has_views():
            with warn_on_failure(self._log, FACTS):
                self._ti.xcom_push(key=FACTS, value=facts)
