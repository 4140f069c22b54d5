"""Before a cent is spent: look for every row in the folder, check it against its model, and price it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenBudgetError,
    OxenError,
    OxenOutputDamaged,
    OxenOutputExists,
    OxenRecordError,
)
from airflow_provider_oxen.api.jsontext import MAX_BYTES, loads
from airflow_provider_oxen.api.models import GenerateRequest, Model, parameters
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.batch.budget import Sums, exact
from airflow_provider_oxen.batch.facts import PriorWork, RowOutcome
from airflow_provider_oxen.batch.intake import SHOWN, Problems
from airflow_provider_oxen.batch.outcome import StopRule
from airflow_provider_oxen.batch.report import INDEX, MANIFEST, SUMMARY
from airflow_provider_oxen.batch.results import Results
from airflow_provider_oxen.batch.row import RowWorker
from airflow_provider_oxen.batch.rowstore import NEW, Row, identity_of
from airflow_provider_oxen.catalogue.check import check
from airflow_provider_oxen.images.folder import UnreadableFile
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.jobs import request as requests

__all__ = ["Plan", "ids_of"]

_LONGEST_ID = 1000
"""Characters compared of an id in a manifest; a row's own has at most 200."""

_ROW_ERRORS = (OxenOutputDamaged, OxenRecordError)
"""Errors of the files of one row, which say nothing about the others."""


@dataclass
class Plan:
    """Finds out what has to be done.

    :param where: the source of the rows, for people.
    :param worker: the batch's worker, which looks at a row's place.
    :param results: receives each row that is already kept, or whose files are damaged while the others go on.
    :param stop_rule: decides whether they go on.
    """

    where: str
    worker: RowWorker
    results: Results
    stop_rule: StopRule
    _records: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        setup = self.worker.setup
        self._folder, self._listing, self._builder = setup.folder, setup.listing, setup.builder
        self._log, self._rows = setup.log, self.results.rows

    def look_around(self) -> Sums:
        """Look at what the folder holds for each row.

        :return: what this task's earlier tries have spent on the rows.
        :raises OxenRefused: if places hold something else, naming the lines.
        """
        problems, anything, unknown = Problems(self.where), False, 0
        damaged = Problems(self.where) if self.stop_rule.continue_on_error else problems
        spent = held = Decimal(0)
        rows = (row for row in self._rows.in_state(NEW) if self._is_there(row))
        for row, found in self.worker.threads.each(self._looked, rows):
            anything = True
            if isinstance(found, _ROW_ERRORS):
                damaged.add(row.line, found.message, type(found))
                self.results.note(RowOutcome(row, error=found))
            elif isinstance(found, OxenError):
                problems.add(row.line, found.message, type(found))
            elif found is not None:
                if found.is_open:
                    self._rows.mark_open(row.n)
                if found.result is not None:
                    self.results.kept(row, found.result, found.preview)
                if found.sent:
                    price = self._price(row.request)
                    priced = exact(price) * found.sent
                    charged = priced if found.cost is None else exact(found.cost)
                    is_known = found.result is not None and found.cost is not None
                    spent += charged
                    held += charged if is_known else max(charged, priced)
                    unknown += found.sent if found.cost is None and price is None else 0
        problems.check(self._rows.total)
        self.stop_rule.failed = damaged.count
        if self.stop_rule.is_broken:
            damaged.check(self._rows.total)
        if not anything and not self.worker.setup.arguments.overwrite:
            self._need_own_folder()
        if left := self._listing.records - self._records:
            self._log.warning(
                "%s records of paid jobs in %s match no row of this input: their prompts were changed or "
                "removed while the images were generated, or another task writes there.",
                f"{left:,}", self._folder.asset_uri(""),
            )  # fmt: skip
        return Sums(spent=float(spent), held=float(held), spent_unknown=unknown)

    def _looked(self, row: Row) -> tuple[Row, PriorWork | OxenError | None]:
        try:
            return row, self.worker.look(row)
        except OxenError as error:
            return row, error
        except Exception as error:
            # Whatever others have written there, the error belongs only to this row.
            why = f"What is in its place cannot be read: {describe_error(error)}."
            return row, OxenOutputDamaged(why)

    def _is_there(self, row: Row) -> bool:
        """Return whether anything is in a row's place, and count the records."""
        self._records += self.worker.setup.has_record(row)
        return self.worker.setup.has_files(row)

    def _need_own_folder(self) -> None:
        """Refuse a folder in which another batch has left its manifest.

        :raises OxenOutputExists: naming the folder.
        """
        there = [name for name in (MANIFEST, SUMMARY, INDEX) if self._listing.has(name)]
        if not there:
            return
        where = self._folder.asset_uri(there[0])
        if (
            MANIFEST not in there
            or (ids := with_store_errors(self._folder, lambda: ids_of(self._folder))) is None
        ):
            raise OxenOutputExists(
                f"{where} is there already, and this package did not write it.",
                remedy="Give the batch a folder of its own.",
            )
        if ids and not any(map(self._rows.has, ids)):
            raise OxenOutputExists(
                f"{where} is the manifest of another batch: it names none of these {self._rows.total:,} "
                "prompts.",
                remedy="Give this batch a folder of its own, for example with {{ run_id }} in it; with "
                "overwrite=True its manifest replaces that one (the images stay).",
            )

    def check(self, limit: float | None, spent: float, *, allow_unknown: bool) -> None:
        """Check each row that is to be requested against its model, and refuse a batch that costs too much.

        :param limit: USD; None for no limit.
        :param spent: USD that are already spent.
        :raises OxenError: naming the lines, or if a model cannot be read.
        :raises OxenBudgetError: naming the sum, or the rows without a price.
        """
        problems, warned, unpriced = Problems(self.where), Counter[str](), Counter[str]()
        total, count = exact(spent), 0
        for count, row in enumerate(self._rows.in_state(NEW), 1):  # noqa: B007 (it is told below)
            model, asked = self._settled(row.request, identity_of(row.stem))
            # Request it here once, and not in each of many threads.
            price = self._builder.price(model, asked)
            total += exact(price)
            if price is None:
                unpriced[row.request.model] += 1
            if model is None or self._builder.validate == "off":
                continue
            findings = check(model, asked)
            wrong = findings.never + ([findings.not_yet] if findings.not_yet else [])
            if self._builder.validate == "error":
                for problem in wrong:
                    problems.add(row.line, problem)
                wrong = []
            warned.update((*wrong, *findings.warnings))
        for message, rows in warned.most_common(SHOWN):
            self._log.warning("%s (%d rows)", message, rows)
        problems.check(self._rows.total)
        if limit is None:
            return
        if unpriced and not allow_unknown:
            models = ", ".join(f"{model} ({rows:,} prompts)" for model, rows in unpriced.most_common(5))
            raise OxenBudgetError(
                f"max_cost is set, but the catalogue has no price for {models}.",
                remedy="Leave max_cost out, choose a model with a price, or set allow_unknown_price=True.",
            )
        if total > exact(limit):
            before = f" beside the ${spent:,.2f} that this task has spent already" if spent else ""
            raise OxenBudgetError(
                f"{count:,} prompts would cost ${total - exact(spent):,.2f} by the catalogue{before}, and "
                f"max_cost is ${limit:,.2f}."
            )

    def _price(self, request: GenerateRequest) -> float | None:
        return self._builder.price(*self._settled(request, ""))

    def _settled(self, request: GenerateRequest, identity: str) -> tuple[Model | None, Mapping[str, Any]]:
        """Return a request's model, if it is known, and the parameters that are sent to it."""
        model = self._builder.model(request.model)
        schema = model.request_schema if model else None
        return model, parameters(requests.settle(request, schema, identity))


def ids_of(folder: Folder) -> list[str] | None:
    """Return the ids in a folder's manifest, or None if it is not one of ours."""
    found = []
    try:
        with folder.open(MANIFEST) as file:
            for line in iter(partial(file.readline, MAX_BYTES), b""):
                found.append(str(loads(line)["id"])[:_LONGEST_ID])
    except (UnreadableFile, ValueError, TypeError, LookupError):
        return None
    return found
