"""Where a task's images go: files with sidecars, or XCom itself. Both give the same kind of result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_oxen import __version__
from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import GenerateRequest, ImageItem
from airflow_provider_oxen.api.redact import redact_unless_echoed, redacted_line
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.api.values import usd, whole_seconds
from airflow_provider_oxen.images import inline, sidecar
from airflow_provider_oxen.images.fetched import Download
from airflow_provider_oxen.images.keep import Keeper
from airflow_provider_oxen.images.media import FACTS
from airflow_provider_oxen.images.preview import Size
from airflow_provider_oxen.images.storage import Folder, with_store_errors
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.tasks.lineage import report_lineage

__all__ = ["Output"]

_MARK = 16
"""Characters of a job's nonce that a sidecar holds, to recognise the job."""


@dataclass
class Output:
    """The place of one output.

    :param key: what the output belongs to: the task instance, or the row of a batch.
    :ivar folder: None if nothing is stored.
    :ivar stem: file name of the first image, without suffix.
    :ivar clear_key: the task's ``max_tries``, which Airflow changes when a task is cleared; a text if several
        task instances write to one place, and then only the same text counts.
    :ivar clear_number: how often the Dag run was cleared; None if not known.
    :ivar given: the given file name with its suffix; empty for a folder.
    :ivar preview_size: how large a preview each sidecar holds; None for none.
    :ivar index_separator: stands between the stem and the number of a further image.
    :ivar lineage: whether each image is reported to Airflow's lineage.
    :ivar replacing: whether a finished output is to be replaced; :meth:`find` sets it.
    :ivar previews: previews of the found or kept images, as data URIs; None for an image without one.
    """

    identity: Identity
    key: str
    try_number: int
    fingerprint: str
    folder: Folder | None
    stem: str
    overwrite: bool
    max_bytes: int
    clear_key: int | str = 0
    clear_number: int | None = None
    given: str = ""
    preview_size: Size | None = None
    index_separator: str = "-"
    lineage: bool = True
    replacing: bool = False
    previews: list[str | None] = field(default_factory=list)

    def __str__(self) -> str:
        return self.folder.asset_uri(self.stem) if self.folder else "XCom"

    @property
    def preview(self) -> str | None:
        """The preview of the first image."""
        return self.previews[0] if self.previews else None

    def check(self) -> None:
        """Make sure that files can be written there, as :func:`.storage.with_store_errors` does."""
        if self.folder is not None:
            with_store_errors(self.folder, self.folder.check)

    def find(self, own_files: Collection[str] = ()) -> dict[str, Any] | None:
        """Return the finished output of this very request, marked as reused, or None.

        :param own_files: names of images that an earlier try of this job wrote, or was about to write.
        :raises OxenRefused: if files cannot be written there, or something else is there.
        """
        if (folder := self.folder) is None:
            return None
        records = with_store_errors(folder, lambda: self._look(folder, own_files))
        if records is None:
            return None
        first = records[0]
        self.previews = [record.get("preview") for record in records]
        request, seed = first.get("request"), first.get("seed")
        facts = {
            "model": redact_unless_echoed(
                first.get("model"), request.get("model") if isinstance(request, dict) else None
            ),
            "seed": seed if isinstance(seed, int) else None,
            "generation_id": redacted_line(first.get("generation_id")),
            # Others may write there, so the value may be anything.
            "created": whole_seconds(first.get("created")),
            "cost": usd(first.get("cost")),
        }
        return _result(facts, [_stored(folder, record) for record in records], reused=True)

    def prove(self) -> None:
        """Test that the place accepts files, before anything is spent; see :meth:`.Folder.prove`."""
        if (folder := self.folder) is not None:
            self._be_no_folder(folder)
            with_store_errors(folder, lambda: folder.prove(self.writer_id))
            self._have_a_name()

    def _be_no_folder(self, folder: Folder) -> None:
        """Refuse a folder's path without the slash at its end: the image would lie beside the folder."""
        there = False
        # Many keys may write but not read; then it is not known.
        with suppress(Exception):
            there = bool(self.given) and folder.is_folder(self.given)
        if there:
            raise OxenInvalidRequest(
                f"storage_path {folder.asset_uri(self.given)!r} is a folder, and does not end in '/'.",
                remedy="End it with '/' to put the image inside (as a string, since a path object drops "
                f"the slash), or name a file with its suffix ({self.stem}.png).",
            )

    def _have_a_name(self) -> None:
        """Use a unique name if two tasks could create the same file in this store at one moment."""
        if self.folder and self._own_stem and not (self.folder.is_exclusive or self.replacing):
            self.stem = self._own_stem

    @property
    def _own_stem(self) -> str | None:
        """A stem that no other task has; None if the stem is unique already, and for the rows of a batch."""
        own = self.key[:16]
        return None if self.key != self.identity.key or own in self.stem else f"{self.stem}-{own}"

    def is_of(self, record: Record) -> bool:
        """Return whether the output that :meth:`find` found belongs to this very job."""
        mine = (self.key, record.nonce[:_MARK])
        return self.folder is not None and sidecar.job_of(self.folder, self.stem) == mine

    def left(self) -> Record | None:
        """Return a record made from the sidecar in the output's place if it is this task's, otherwise None.

        If a try ended while it replaced an output, the job has its image, but not yet its place.
        """
        folder = self.folder
        found = with_store_errors(folder, lambda: sidecar.read(folder, self.stem)) if folder else {}
        if found.get("identity") != self.key:
            return None
        number, clear_count = found.get("try_number"), found.get("clearing")
        generation, counter = found.get("generation_id"), found.get("counter")
        known = isinstance(generation, str)
        if found.get("replacing") and not known:
            return None
        return Record(
            phase="submitted" if found.get("replacing") else "kept",
            nonce=str(found.get("job", "")),
            identity=self.key,
            time=0.0,
            endpoint="queue",
            body=found.get("request") if isinstance(found.get("request"), dict) else {},
            origin="",
            fingerprint=str(found.get("fingerprint", "")),
            counter=counter if isinstance(counter, int) else None,
            generation_id=generation if known else None,
            clear_count=clear_count if isinstance(clear_count, int) else -1,
            try_number=number if isinstance(number, int) else None,
        )

    def keep(
        self,
        settings: Settings,
        record: Record,
        images: Sequence[ImageItem],
        *,
        cost: float | None,
        download: Download,
        claim: Callable[[str], None],
        same: str | None = None,
    ) -> tuple[Record, dict[str, Any]]:
        """Keep the paid images; return the job's final record, and the operator's result.

        :param cost: USD that were charged.
        :param claim: called with the name of each image before it is written.
        :param same: SHA-256 of what came in place of an image again and again.
        :raises OxenImageError: if an image cannot be fetched, proved or written.
        """
        request = GenerateRequest.model_validate(record.body)
        facts = {
            "model": redact_unless_echoed(record.model, request.model) or request.model,
            "created": record.created,
            "seed": request.seed,
            "generation_id": record.generation_id,
            "cost": cost,
        }
        if self.folder is None:
            inside = inline.records(settings, download, images, request.response_format, same)
            # The queue gives the link again; a synchronous call has only this one.
            items = [] if record.generation_id else record.items
            return record.to("kept", items=items), _result(facts, inside, reused=False)
        keeper = self._keeper(settings, self.folder, record, facts)
        keeper.download, keeper.claim, keeper.same = download, claim, same
        kept = keeper.keep(images)
        self.previews = [item.get("preview") for item in kept]
        files = [item["file"] for item in kept]
        if self.lineage:
            report_lineage(self.folder, files)
        result = _result(facts, [_stored(self.folder, item) for item in kept], reused=False)
        return record.to("kept", files=files, items=[]), result

    def keep_answer(self, settings: Settings, record: Record, answer: bytes, reason: str) -> str | None:
        """Keep an unreadable paid answer beside the output; return where it is, or None if there is no place.

        :raises OxenStorageError: if it cannot be written.
        """
        if self.folder is None:
            return None
        return self._keeper(settings, self.folder, record, {}).keep_answer(answer, reason)

    def _keeper(self, settings: Settings, folder: Folder, record: Record, facts: Mapping[str, Any]) -> Keeper:
        # If another process has tested the place, this one does not know yet what the store guarantees. The
        # money is spent: if something is wrong with the place, the image's own write, with its retries,
        # reports it.
        with suppress(Exception):
            folder.prove(self.writer_id)
        self._have_a_name()
        told = {
            **{name: value for name, value in facts.items() if value is not None},
            # The fingerprint of the record's request: by now the task may ask for something else.
            "fingerprint": record.fingerprint,
            "job": record.nonce[:_MARK],
            "request": GenerateRequest.model_validate(record.body).body(),
            **self.identity._asdict(),
            "identity": self.key,
            "try_number": self.try_number,
            "clearing": self.clear_key,
            "clear_number": self.clear_number,
            "number": record.number,
            "counter": record.counter,
            "made_by": f"airflow-provider-oxen {__version__}",
        }
        return Keeper(
            api_key=settings.api_key,
            folder=folder,
            stem=self.stem,
            facts=told,
            writer_id=self.writer_id,
            replacing=self.replacing,
            own_files=record.files,
            preview=self.preview_size,
            index_separator=self.index_separator,
        )

    @property
    def writer_id(self) -> str:
        """Identity and try, for the names of unfinished files."""
        writer = "" if self.key == self.identity.key else f"{self.identity.key[:8]}-"
        return f"{self.key[:16]}.{writer}{self.try_number}"

    def _look(self, folder: Folder, own_files: Collection[str]) -> list[dict[str, Any]] | None:
        folder.check()
        if (own := self._own_stem) and sidecar.made_by(folder, own)[0] == self.key:
            # The requested name was already taken when an earlier try wrote its image.
            self.stem = own
        # Do not pay again for what an earlier try of this very run has kept.
        overwrite = self.overwrite and not self.is_own()
        found = sidecar.find(
            folder, self.stem, self.fingerprint, overwrite=overwrite, own_files=own_files, identity=self.key
        )
        # Decide this here: after the payment nothing may depend on another read.
        self.replacing = overwrite and folder.read(sidecar.name_of(self.stem)) is not None
        return found

    def is_own(self) -> bool:
        """Return whether this clearing of this task, or a later one, finished what is there."""
        if self.folder is None:
            return False
        key, clear_key, number = sidecar.made_by(self.folder, self.stem)
        known = number is not None and self.clear_number is not None
        if key != self.key or (known and (number or 0) > (self.clear_number or 0)):
            return key == self.key
        return clear_key == self.clear_key and (not known or number == self.clear_number)


def _stored(folder: Folder, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": folder.uri(record["file"]), **{name: record[name] for name in FACTS}}


def _result(facts: Mapping[str, Any], images: list[dict[str, Any]], *, reused: bool) -> dict[str, Any]:
    known = {name: value for name, value in facts.items() if value is not None}
    return {**known, "reused": reused, "images": images}
