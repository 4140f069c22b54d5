"""Where a task's images go: files with sidecars, or XCom itself. One shape comes out of both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import getLogger
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_oxen import __version__
from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenError, OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.api.models import GenerateRequest, ImageItem
from airflow_provider_oxen.api.redact import without_queries, without_query
from airflow_provider_oxen.images import inline, names, sidecar
from airflow_provider_oxen.images.keep import Keeper
from airflow_provider_oxen.images.preview import Size
from airflow_provider_oxen.images.storage import Folder, open_folder
from airflow_provider_oxen.jobs.identity import Identity
from airflow_provider_oxen.jobs.record import Record

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["Output", "asked", "describe", "open_output", "report_lineage"]

T = TypeVar("T")

log = getLogger(__name__)

_MARK = 16
"""Characters of a job's nonce that a sidecar tells it by."""

_IMAGE_FACTS = ("media_type", "width", "height", "bytes", "sha256")


@dataclass
class Output:
    """The place of one output.

    :param identity: of the task instance.
    :param key: of what the output answers: the task instance, or the row of a batch.
    :ivar folder: None where nothing is stored.
    :ivar stem: file name of the first image, without suffix.
    :ivar clearing: a number that grows whenever the task is cleared, and at no other time; a text where
        several task instances write to one place, and only the same one counts.
    :ivar preview_size: how large a preview each sidecar holds; None for none.
    :ivar between: stands between the stem and the number of a further image.
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
    clearing: int | str = 0
    preview_size: Size | None = None
    between: str = "-"
    lineage: bool = True
    replacing: bool = False
    previews: list[str | None] = field(default_factory=list)

    def __str__(self) -> str:
        return self.folder.asset_uri(self.stem) if self.folder else "XCom"

    @property
    def preview(self) -> str | None:
        """Of the first image."""
        return self.previews[0] if self.previews else None

    def find(self, ours: Collection[str] = ()) -> dict[str, Any] | None:
        """Return the finished output of this very request, marked as reused, or None.

        :param ours: names of images that an earlier try of this job wrote, or was about to.
        :raises OxenRefused: where files cannot be written there, or something else is there.
        """
        if self.folder is None:
            return None
        folder = self.folder
        records = asked(folder, lambda: self._look(folder, ours))
        if records is None:
            return None
        first = records[0]
        self.previews = [record.get("preview") for record in records]
        facts = {name: first.get(name) for name in ("model", "created", "seed", "generation_id", "cost")}
        return _result(facts, [_stored(self.folder, record) for record in records], reused=True)

    def is_of(self, record: Record | None) -> bool:
        """Whether the output that :meth:`find` found is the one of this very job."""
        if self.folder is None or record is None:
            return False
        return sidecar.job_of(self.folder, self.stem) == (self.key, record.nonce[:_MARK])

    def keep(
        self,
        client: Client,
        record: Record,
        images: Sequence[ImageItem],
        *,
        cost: float | None,
        claim: Callable[[str], None],
    ) -> tuple[Record, dict[str, Any]]:
        """Keep what was paid for; return the job's record as it ends, and the operator's result.

        :param record: of the job.
        :param cost: that was charged, in USD.
        :param claim: told the name of each image before it is written.
        :raises OxenImageError: where it cannot be fetched, proved or written.
        """
        request = GenerateRequest.model_validate(record.body)
        facts = {
            "model": record.model or request.model,
            "created": record.created,
            "seed": request.seed,
            "generation_id": record.generation_id,
            "cost": cost,
        }
        if self.folder is None:
            told = inline.records(client, images, request.response_format, self.max_bytes)
            # The queue gives fresh links; of a synchronous call there is no other.
            items = [] if record.generation_id else record.items
            return record.to("kept", items=items), _result(facts, told, reused=False)
        keeper = Keeper(
            client=client,
            folder=self.folder,
            stem=self.stem,
            facts=self._facts(request, facts, record),
            mark=self.mark,
            max_bytes=self.max_bytes,
            replacing=self.replacing,
            ours=record.files,
            claim=claim,
            preview=self.preview_size,
            between=self.between,
        )
        kept = keeper.keep(images)
        self.previews = [item.get("preview") for item in kept]
        files = [item["file"] for item in kept]
        if self.lineage:
            report_lineage(self.folder, files)
        result = _result(facts, [_stored(self.folder, item) for item in kept], reused=False)
        return record.to("kept", files=files, items=[]), result

    @property
    def mark(self) -> str:
        """What the files are of, and whose try writes them, for the names of unfinished files."""
        writer = "" if self.key == self.identity.key else f"{self.identity.key[:8]}-"
        return f"{self.key[:16]}.{writer}{self.try_number}"

    def _look(self, folder: Folder, ours: Collection[str]) -> list[dict[str, Any]] | None:
        folder.check()
        # What an earlier try of this very run has paid for and kept is not paid for again.
        overwrite = self.overwrite and not self.is_own()
        found = sidecar.find(
            folder, self.stem, self.fingerprint, overwrite=overwrite, ours=ours, identity=self.key
        )
        # Settled here: after the payment nothing may depend on another look.
        self.replacing = overwrite and folder.read(sidecar.name_of(self.stem)) is not None
        return found

    def is_own(self) -> bool:
        """Whether what is there was finished by this clearing of this task, or by a later one."""
        key, clearing = sidecar.made_by(self.folder, self.stem) if self.folder else (None, None)
        later = isinstance(clearing, int) and isinstance(self.clearing, int) and clearing > self.clearing
        return key == self.key and (later or clearing == self.clearing)

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
            "clearing": self.clearing,
            "made_by": f"airflow-provider-oxen {__version__}",
        }


def asked(folder: Folder, ask: Callable[[], T]) -> T:
    """Ask a store before anything is spent.

    :raises OxenInvalidRequest: where the place cannot be written to.
    :raises OxenStoreUnavailable: where the store does not answer.
    """
    try:
        return ask()
    except OxenError:
        raise
    except (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError) as error:
        raise OxenInvalidRequest(
            f"storage_path {folder.asset_uri('')!r} cannot be written to: {error}. Nothing was sent: "
            "give a folder that exists, or can be made, and that this worker may write to."
        ) from None
    except Exception as error:
        raise OxenStoreUnavailable(
            f"The store of {folder.asset_uri('')} could not be asked what is there: "
            f"{type(error).__name__}: {without_queries(str(error))}. Nothing was sent, nothing was spent."
        ) from None


def report_lineage(folder: Folder, files: Iterable[str]) -> None:
    """Tell Airflow's lineage what was written."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    try:
        collector: Any = get_hook_lineage_collector()  # type: ignore[no-untyped-call]
        for name in files:
            collector.add_output_asset(context=folder, uri=folder.asset_uri(name))
    except Exception as error:
        # The images are kept: a collector that fails must not make the task look as if they were not.
        log.warning("The lineage of the images could not be reported: %s", error)


def open_output(
    context: Context,
    storage_path: str | None,
    storage_conn_id: str | None,
    *,
    fingerprint: str,
    overwrite: bool,
    max_bytes: int,
) -> Output:
    """Return the place that a task's arguments name. Nothing is written yet.

    :raises OxenInvalidRequest: where the path is none, or its driver is missing.
    """
    ti = context["ti"]
    identity = Identity(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
    stem, folder = names.default_stem(ti.task_id, identity.key), None
    if storage_path is not None:
        where = names.split(storage_path, stem)
        stem, folder = where.stem, open_folder(where.folder, storage_conn_id)
    # Airflow adds to max_tries what a cleared task has as retries, and one for the try that is over.
    clearing = ti.max_tries or 0
    return Output(
        identity, identity.key, ti.try_number, fingerprint, folder, stem, overwrite, max_bytes, clearing
    )


def describe(result: Mapping[str, Any]) -> str:
    """Return the images of a result in words for the log; of a link only the part that is not signed."""
    return ", ".join(_describe(image) for image in result["images"])


def _describe(image: Mapping[str, Any]) -> str:
    if "url" in image:
        return without_query(image["url"])
    where = f"{image['path']}, " if "path" in image else ""
    return f"{where}{image['media_type']} {image['width']}x{image['height']}, {image['bytes']:,} bytes"


def _stored(folder: Folder, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": folder.uri(record["file"]), **{name: record[name] for name in _IMAGE_FACTS}}


def _result(facts: Mapping[str, Any], images: list[dict[str, Any]], *, reused: bool) -> dict[str, Any]:
    known = {name: value for name, value in facts.items() if value is not None}
    return {**known, "reused": reused, "images": images}
