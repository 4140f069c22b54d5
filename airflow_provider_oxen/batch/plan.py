"""Before a cent is spent: every row is read and checked, looked for, held against its model, and priced."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen.api.errors import (
    OxenBudgetError,
    OxenError,
    OxenInvalidRequest,
    OxenOutputExists,
)
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch import rows
from airflow_provider_oxen.batch.pool import Pool
from airflow_provider_oxen.batch.report import INDEX, MANIFEST, SUMMARY
from airflow_provider_oxen.batch.source import Source
from airflow_provider_oxen.batch.spool import NEW, Job, Spool, identity_of
from airflow_provider_oxen.batch.working import Found
from airflow_provider_oxen.images.known import Listing
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.images.verify import SUFFIXES
from airflow_provider_oxen.jobs import request as requests
from airflow_provider_oxen.jobs.check import check
from airflow_provider_oxen.jobs.homes import file_name
from airflow_provider_oxen.operators.prepare import Preparing

__all__ = ["Plan", "Problems", "read_rows"]

SHOWN = 50
"""Problems that an error names one by one; it tells how many more there are."""


@dataclass
class Problems:
    """What stands against rows, collected so that all of it is told at once.

    :param where: what the rows come from, for people.
    """

    where: str
    first: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0
    kinds: set[type[OxenError]] = field(default_factory=set)

    def add(self, line: int, problem: str, kind: type[OxenError] = OxenInvalidRequest) -> None:
        """Note a problem of a line."""
        self.count += 1
        self.kinds.add(kind)
        if len(self.first) < SHOWN:
            self.first.append((line, problem.strip().rstrip(".")))

    def check(self, rows: int) -> None:
        """Raise what was noted, if anything.

        :param rows: that there are in all.
        :raises OxenRefused: naming lines and reasons.
        """
        if not self.count:
            return
        told = "".join(f"\n  line {line}: {problem}" for line, problem in sorted(self.first))
        more = f"\n  and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        kind = next(iter(self.kinds)) if len(self.kinds) == 1 else OxenInvalidRequest
        raise kind(
            f"{self.count:,} of {rows:,} rows of {self.where} cannot be used. Nothing was sent, nothing was "
            f"spent.{told}{more}"
        )


def read_rows(source: Source, defaults: Mapping[str, Any], spool: Spool) -> None:
    """Read and check the whole input.

    :raises OxenInvalidRequest: naming every line that will not do; or where there is none.
    """
    problems, read = Problems(str(source)), 0
    for read, raw in enumerate(source.rows(), 1):  # noqa: B007
        try:
            spool.add(rows.check(raw, defaults))
        except OxenInvalidRequest as error:
            problems.add(raw.line, error.message.replace(" Nothing was sent.", ""))
    problems.check(read)


@dataclass
class Plan:
    """Finds out what is to be done.

    :param where: what the rows come from, for people.
    :param look: what is in a row's place.
    :param found: told of each row that is kept already.
    """

    spool: Spool
    where: str
    folder: Folder
    listing: Listing
    preparing: Preparing
    log: Any
    overwrite: bool
    look: Callable[[Job], Found | None]
    found: Callable[[Job, Found], None]
    _records: int = field(default=0, init=False)

    def look_around(self, threads: int) -> tuple[float, int]:
        """Look what the folder holds of each row.

        :param threads: that look side by side.
        :return: USD that this task has spent on the rows by earlier tries, and how many submissions nobody
            knows the cost of.
        :raises OxenRefused: where places hold something else, naming the lines.
        """
        problems, spent, unknown, anything = Problems(self.where), 0.0, 0, False
        jobs = (job for job in self.spool.jobs(NEW) if self._is_there(job))
        for job, found in Pool(threads, self._looked).map(jobs, ahead=4 * threads):
            anything = True
            if isinstance(found, OxenError):
                problems.add(job.line, found.message, type(found))
            elif found is not None:
                if found.is_open:
                    self.spool.is_open(job.n)
                if found.result is not None:
                    self.found(job, found)
                cost = self._spent(job, found)
                spent += cost or 0.0
                unknown += found.sent if cost is None else 0
        problems.check(self.spool.rows)
        if not anything and not self.overwrite:
            self._need_own_folder()
        if left := self.listing.records - self._records:
            self.log.warning(
                "%s records of paid jobs in %s are of no row of this input: their prompts were changed or "
                "taken out while their images were on the way, or another task is at work there.",
                f"{left:,}", self.folder.asset_uri(""),
            )  # fmt: skip
        return spent, unknown

    def _looked(self, job: Job) -> tuple[Job, Found | OxenError | None]:
        try:
            return job, self.look(job)
        except OxenError as error:
            return job, error

    def _is_there(self, job: Job) -> bool:
        """Whether anything is in a row's place: most often nothing is, and that is known already."""
        has_record = self.listing.has(file_name(job.stem, identity_of(job.stem)))
        self._records += has_record
        names = (f"{job.stem}.json", *(f"{job.stem}{suffix}" for suffix in SUFFIXES))
        return has_record or any(map(self.listing.has, names))

    def _spent(self, job: Job, found: Found) -> float | None:
        if not found.sent:
            return 0.0
        told = (found.result or {}).get("cost")
        if isinstance(told, int | float):
            return float(told)
        price = self._price(job.request)
        return None if price is None else price * found.sent

    def _need_own_folder(self) -> None:
        """Refuse a folder in which another batch has left its manifest.

        :raises OxenOutputExists: naming it.
        """
        there = [name for name in (MANIFEST, SUMMARY, INDEX) if self.listing.has(name)]
        if not there:
            return
        where = self.folder.asset_uri(there[0])
        if MANIFEST not in there or (ids := self._ids()) is None:
            raise OxenOutputExists(
                f"{where} is there already and is not of this package. Nothing was sent. Give the batch a "
                "folder of its own."
            )
        if ids and not any(map(self.spool.has, ids)):
            raise OxenOutputExists(
                f"{where} is the manifest of another batch: it names none of these {self.spool.rows:,} "
                "prompts. Nothing was sent. Give this batch a folder of its own, for example with {{ ds }} "
                "in it; with overwrite=True its manifest replaces that one (the images stay)."
            )

    def _ids(self) -> list[str] | None:
        """Return the manifest's ids, or None where it is none of ours."""
        found = []
        with self.folder.open(MANIFEST) as file:
            for line in file:
                try:
                    found.append(str(json.loads(line)["id"]))
                except (ValueError, TypeError, KeyError):
                    return None
        return found

    def check_models(self) -> None:
        """Hold each row that is to be asked for against its model.

        :raises OxenError: naming the lines, or where a model cannot be asked for.
        """
        problems, warned = Problems(self.where), Counter[str]()
        for job in self.spool.jobs(NEW):
            settled = self._settled(job)
            model = self.preparing.model(job.request.model)
            if model is None or self.preparing.validate == "off":
                continue
            # Asked for here once, and not by each of many threads.
            self.preparing.price(model, settled.parameters())
            findings = check(model, settled.parameters())
            wrong = findings.never + ([findings.not_yet] if findings.not_yet else [])
            if self.preparing.validate == "error":
                for problem in wrong:
                    problems.add(job.line, problem)
                wrong = []
            warned.update((*wrong, *findings.warnings))
        for message, count in warned.most_common(SHOWN):
            self.log.warning("%s (%d rows)", message, count)
        problems.check(self.spool.rows)

    def _settled(self, job: Job) -> GenerateRequest:
        model = self.preparing.model(job.request.model)
        schema = model.request_schema if model else None
        return requests.settle(job.request, schema, identity_of(job.stem), fresh=True).request

    def price(self, limit: float, spent: float, allow_unknown: bool) -> None:
        """Refuse what would cost too much.

        :param limit: USD.
        :param spent: USD that is spent already.
        :raises OxenBudgetError: naming the sum, or what has no price.
        """
        total, unknown, count = spent, Counter[str](), 0
        for job in self.spool.jobs(NEW):
            price = self._price(job.request)
            count += 1
            if price is None:
                unknown[job.request.model] += 1
            total += price or 0.0
        if unknown and not allow_unknown:
            models = ", ".join(f"{model} ({rows:,} prompts)" for model, rows in unknown.most_common(5))
            raise OxenBudgetError(
                f"max_cost is set, and what {models} costs is not known from the catalogue. Nothing was "
                "sent: leave max_cost out, choose a model with a price, or set allow_unknown_price=True."
            )
        if total > limit + 1e-9:
            before = f" beside the ${spent:,.2f} that this task has spent already" if spent else ""
            raise OxenBudgetError(
                f"{count:,} prompts would cost ${total - spent:,.2f} by the catalogue{before}, and max_cost "
                f"is ${limit:,.2f}. Nothing was sent."
            )

    def _price(self, asked: GenerateRequest) -> float | None:
        model = self.preparing.model(asked.model)
        schema = model.request_schema if model else None
        return self.preparing.price(
            model, requests.settle(asked, schema, "0", fresh=True).request.parameters()
        )
