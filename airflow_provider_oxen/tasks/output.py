"""Where a task's images go: files with sidecars, or XCom itself. One shape comes out of both."""

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
"""Characters of a job's nonce that a sidecar tells it by."""


@dataclass
class Output:
    """The place of one output.

    :param identity: of the task instance.
    :param key: of what the output answers: the task instance, or the row of a batch.
    :ivar folder: None where nothing is stored.
    :ivar stem: file name of the first image, without suffix.
    :ivar clear_key: the task's ``max_tries``, which Airflow sets anew when a task is cleared; a text where
        several task instances write to one place, and only the same one counts.
    :ivar clear_number: how often the Dag run was cleared; None where not known.
    :ivar given: the file name that was given, with its suffix; empty where a folder was.
    :ivar preview_size: how large a preview each sidecar holds; None for none.
    :ivar index_separator: stands between the stem and the number of a further image.
    :ivar lineage: whether each image is reported to Airflow's lineage.
    :ivar replacing: whether there is a finished output to be replaced; :meth:`find` finds it out.
    :ivar previews: of the images that were found or kept, as data URIs; None for one that has none.
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
        """Of the first image."""
        return self.previews[0] if self.previews else None

    def check(self) -> None:
        """Make sure that files can be written there, as :func:`.storage.with_store_errors` does."""
        if self.folder is not None:
            with_store_errors(self.folder, self.folder.check)

    def find(self, own_files: Collection[str] = ()) -> dict[str, Any] | None:
        """Return the finished output of this very request, marked as reused, or None.

        :param own_files: names of images that an earlier try of this job wrote, or was about to.
        :raises OxenRefused: where files cannot be written there, or something else is there.
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
            # Whoever may write there may have written anything.
            "created": whole_seconds(first.get("created")),
            "cost": usd(first.get("cost")),
        }
        return _result(facts, [_stored(folder, record) for record in records], reused=True)

    def prove(self) -> None:
        """Make sure that the place takes files, before anything is spent; see :meth:`.Folder.prove`."""
        if (folder := self.folder) is not None:
            self._be_no_folder(folder)
            with_store_errors(folder, lambda: folder.prove(self.writer_id))
            self._have_a_name()

    def _be_no_folder(self, folder: Folder) -> None:
        """Refuse a folder's path without the slash at its end: the image would lie beside it."""
        there = False
        # Many keys may write and not look; then nobody knows.
        with suppress(Exception):
            there = bool(self.given) and folder.is_folder(self.given)
        if there:
            raise OxenInvalidRequest(
                f"storage_path {folder.asset_uri(self.given)!r} is a folder, and the image would lie beside "
                "it.",
                remedy="End it with '/' to put it inside (as a text, since a path object drops it), or name "
                f"the file with its suffix ({self.stem}.png).",
            )

    def _have_a_name(self) -> None:
        """Take a name of its own where the store cannot keep apart two who create one file at one moment."""
        if self.folder and self._own_stem and not (self.folder.is_exclusive or self.replacing):
            self.stem = self._own_stem

    @property
    def _own_stem(self) -> str | None:
        """The stem that no other task has; None where it is that already, and for the rows of a batch."""
        own = self.key[:16]
        return None if self.key != self.identity.key or own in self.stem else f"{self.stem}-{own}"

    def is_of(self, record: Record | None) -> bool:
        """Whether the output that :meth:`find` found is the one of this very job."""
        if self.folder is None or record is None:
            return False
        return sidecar.job_of(self.folder, self.stem) == (self.key, record.nonce[:_MARK])

    def left(self) -> Record | None:
        """Return what the sidecar in the output's place tells of a job of this task; None for no such one.

        Of an output that was being replaced when a try ended, the job has its image, and not yet its place.
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
        """Keep what was paid for; return the job's record as it ends, and the operator's result.

        :param record: of the job.
        :param cost: that was charged, in USD.
        :param download: fetches a link.
        :param claim: told the name of each image before it is written.
        :param same: sha256 of what came in an image's place again and again.
        :raises OxenImageError: where it cannot be fetched, proved or written.
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
            # The queue tells the link again; of a synchronous call there is no other.
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
        """Keep a paid answer that cannot be read beside the output; return where it is, None for nowhere.

        :raises OxenStorageError: where it cannot be written.
        """
        if self.folder is None:
            return None
        return self._keeper(settings, self.folder, record, {}).keep_answer(answer, reason)

    def _keeper(self, settings: Settings, folder: Folder, record: Record, facts: Mapping[str, Any]) -> Keeper:
        # Where another process has proved the place, this one does not know yet what its store promises. The
        # money is spent: what is wrong with the place is told by the image's own write, which is repeated.
        with suppress(Exception):
            folder.prove(self.writer_id)
        self._have_a_name()
        request = GenerateRequest.model_validate(record.body)
        return Keeper(
            api_key=settings.api_key,
            folder=folder,
            stem=self.stem,
            facts=self._facts(request, facts, record),
            writer_id=self.writer_id,
            replacing=self.replacing,
            own_files=record.files,
            preview=self.preview_size,
            index_separator=self.index_separator,
        )

    @property
    def writer_id(self) -> str:
        """What the files are of, and whose try writes them, for the names of unfinished files."""
        writer = "" if self.key == self.identity.key else f"{self.identity.key[:8]}-"
        return f"{self.key[:16]}.{writer}{self.try_number}"

    def _look(self, folder: Folder, own_files: Collection[str]) -> list[dict[str, Any]] | None:
        folder.check()
        if (own := self._own_stem) and sidecar.made_by(folder, own)[0] == self.key:
            # An earlier try was too late for the name that was asked for.
            self.stem = own
        # What an earlier try of this very run has paid for and kept is not paid for again.
        overwrite = self.overwrite and not self.is_own()
        found = sidecar.find(
            folder, self.stem, self.fingerprint, overwrite=overwrite, own_files=own_files, identity=self.key
        )
        # Settled here: after the payment nothing may depend on another look.
        self.replacing = overwrite and folder.read(sidecar.name_of(self.stem)) is not None
        return found

    def is_own(self) -> bool:
        """Whether what is there was finished by this clearing of this task, or by a later one."""
        if self.folder is None:
            return False
        key, clear_key, number = sidecar.made_by(self.folder, self.stem)
        known = number is not None and self.clear_number is not None
        if key != self.key or (known and (number or 0) > (self.clear_number or 0)):
            return key == self.key
        return clear_key == self.clear_key and (not known or number == self.clear_number)

    def _facts(self, request: GenerateRequest, facts: Mapping[str, Any], record: Record) -> dict[str, Any]:
        return {
            **{name: value for name, value in facts.items() if value is not None},
            # Of what was asked for: by now the task may ask for something else.
            "fingerprint": record.fingerprint,
            "job": record.nonce[:_MARK],
            "request": request.body(),
            **self.identity._asdict(),
            "identity": self.key,
            "try_number": self.try_number,
            "clearing": self.clear_key,
            "clear_number": self.clear_number,
            "number": record.number,
            "counter": record.counter,
            "made_by": f"airflow-provider-oxen {__version__}",
        }


def _stored(folder: Folder, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": folder.uri(record["file"]), **{name: record[name] for name in FACTS}}


def _result(facts: Mapping[str, Any], images: list[dict[str, Any]], *, reused: bool) -> dict[str, Any]:
    known = {name: value for name, value in facts.items() if value is not None}
    return {**known, "reused": reused, "images": images}
