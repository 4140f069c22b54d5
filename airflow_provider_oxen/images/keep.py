"""Turn paid results into files: fetch, prove, write, and only then report them.

Every error here happens after the money was spent. So every image of the answer is kept as well as possible
before the first failure is reported.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, TypeVar

from airflow_provider_oxen.api.errors import OxenBadImage, OxenImageError, OxenStorageError
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.images import fetched, sidecar, verify
from airflow_provider_oxen.images.names import numbered
from airflow_provider_oxen.images.preview import Size, preview
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.images.writer import Writer

__all__ = ["Keeper"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_NAMES = 100
"""How many names are tried for one image; a store may say of each that it is taken."""


@dataclass
class Keeper:
    """Keeps the images of one answer.

    :param api_key: a page served in place of an image may quote it.
    :param download: fetches a link.
    :param facts: facts for every sidecar: request, model, seed, fingerprint, Dag, run, task…
    :param writer_id: identity and try, for the names of unfinished files.
    :param replacing: whether a finished output is being replaced.
    :param own_files: names of images that this very job wrote before an earlier try was stopped.
    :param claim: called with the name of an image before it is written there.
    :param preview: how large the preview in the sidecars is; None: no preview.
    :param same: SHA-256 of bytes that came in place of an image again and again; they are kept as rejected.
    :param index_separator: stands between the stem and the number of a further image.
    """

    api_key: str | None
    folder: Folder
    stem: str
    facts: Mapping[str, Any]
    writer_id: str
    replacing: bool = False
    own_files: Collection[str] = ()
    claim: Callable[[str], None] = lambda name: None
    download: fetched.Download | None = None
    preview: Size | None = None
    index_separator: str = "-"
    same: str | None = None
    sleep: Callable[[float], None] = time.sleep
    _failed: list[OxenImageError] = field(default_factory=list, init=False)
    _replaced: Set[str] = field(default=frozenset(), init=False)
    _old_files: Set[str] = field(default=frozenset(), init=False)
    _lost_stems: set[str] = field(default_factory=set, init=False)
    _open_files: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False)
    _sources: dict[int, BinaryIO] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._writer = Writer(self.folder, self.writer_id, self.sleep)

    def keep(self, items: Sequence[ImageItem]) -> list[dict[str, Any]]:
        """Keep all images and return their records, in the answer's order.

        :raises OxenImageError: the first failure, after everything else was kept.
        """
        if self.replacing:
            with self._deferring_failure("The old output's sidecar"):
                self._mark_replaced()
        records: list[dict[str, Any]] = []
        with self._open_files:
            for index, item in enumerate(items, start=1):
                with self._deferring_failure(f"Image {index} of {len(items)}"):
                    records.append(self._keep_image(index, item))
            with self._deferring_failure("The sidecars"):
                self._commit(records, len(items))
        if not any(isinstance(error, OxenStorageError) for error in self._failed):
            with contextlib.suppress(OSError):
                self.folder.clean(self.writer_id)
        if self._failed:
            raise self._failed[0]
        return records

    @contextlib.contextmanager
    def _deferring_failure(self, what: str) -> Iterator[None]:
        """Keep an error for the end: what comes after it was paid for too."""
        try:
            yield
        except Exception as error:
            failure = error
            if not isinstance(failure, OxenImageError):
                # The money is spent: it must not look like an error that a retry fixes.
                failure = OxenImageError(f"Something unexpected happened: {describe_error(error)}")
            # An image that is not there yet is requested again, and the code that does so reports it.
            log.log(logging.INFO if failure.not_yet else logging.ERROR, "%s: %s", what, failure)
            self._failed.append(failure)

    def _mark_replaced(self) -> None:
        """Mark the place as neither the old output nor the new one, until the new sidecar is written."""
        stems, files = self._writer.with_retries(sidecar.parts_of, self.folder, self.stem)
        unfinished = {**self.facts, "replacing": True, "stems": stems, "files": files}
        self._writer.put(sidecar.name_of(self.stem), io.BytesIO(sidecar.dump(unfinished)))
        self._replaced, self._old_files = {self.stem, *stems}, set(files)

    def _create(self, index: int, suffix: str, got: BinaryIO) -> str:
        """Create an image's file, or overwrite the one that it replaces; return its name.

        The number of images is known only now. During minutes of waiting, another task may have taken a free
        place: its image was paid for too, and stays.
        """
        wanted = numbered(self.stem, index, self.index_separator)
        own = f"{wanted}-{self.writer_id.partition('.')[0]}"
        for stem in (wanted, own, *(f"{own}-{number}" for number in range(2, _NAMES))):
            name = f"{stem}{suffix}"
            if stem in self._lost_stems or not (stem in self._replaced or self._seems_free(stem)):
                continue
            if stem in self._replaced and name in self._old_files:
                self._writer.put(name, got)
                return name
            self.claim(name)
            if self._writer.write(self.folder.create, name, got):
                break
            if self._is_own(stem, name):
                self._writer.put(name, got)
                break
        else:
            raise OxenStorageError(
                f"{self.folder.asset_uri(wanted)} and {_NAMES - 1} names like it are taken."
            )
        if stem != wanted:
            log.warning("%s is taken; the image goes to %s.", *map(self.folder.asset_uri, (wanted, stem)))
        return name

    def _seems_free(self, stem: str) -> bool:
        """Return whether nobody else's image seems to be there; the store decides when the file is made."""
        return self._writer.may_be(sidecar.is_free, self.folder, stem, self.own_files, self._identity)

    def _seems_absent(self, name: str) -> bool:
        return self._writer.may_be(lambda: self.folder.size(name) is None)

    def _is_own(self, stem: str, name: str) -> bool:
        """Return whether the sidecar says that a file is this job's; a claimed file may be another's."""
        written = self._writer.with_retries(sidecar.read, self.folder, stem) if name in self.own_files else {}
        return written.get("file") == name and written.get("identity") == self._identity

    @property
    def _identity(self) -> str:
        return str(self.facts.get("identity", ""))

    def _keep_image(self, index: int, item: ImageItem) -> dict[str, Any]:
        stem = numbered(self.stem, index, self.index_separator)
        got = self._fetch(stem, item)
        try:
            # The preview is made from the image that is decoded for the proof.
            make_preview = partial(preview, size=self.preview) if self.preview else None
            facts = verify.judge(got, self.same, make_preview)
        except OxenBadImage as error:
            if error.not_yet:
                raise
            if item.b64_json and item.url:
                log.warning("Image %d: %s Its link is fetched instead.", index, error.message)
                return self._keep_image(index, item.model_copy(update={"b64_json": None}))
            raise self._reject(stem, got, error.reason) from None
        else:
            name = self._create(index, facts.suffix, got.file)
            self._sources[index] = got.file
        finally:
            self._open_files.callback(got.close)
        return {
            **self.facts,
            "file": name,
            "index": index,
            **facts.record(),
            "kept_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **({"revised_prompt": item.revised_prompt} if item.revised_prompt else {}),
        }

    def _fetch(self, stem: str, item: ImageItem) -> fetched.Fetched:
        if item.b64_json:
            try:
                return fetched.from_base64(item.b64_json)
            except OxenBadImage as error:
                if not item.url:
                    text = item.b64_json.encode(errors="replace")
                    raise self._reject(stem, fetched.from_bytes(text), error.reason) from None
                log.warning("%s Its link is fetched instead.", error.message)
        if not item.url or self.download is None:
            raise OxenImageError("An image in the hub's answer has neither a link nor bytes.")
        return self.download(item.url)

    def keep_answer(self, answer: bytes, reason: str) -> str:
        """Keep a paid answer that cannot be read, like rejected bytes; return where it is.

        :raises OxenStorageError: if it cannot be written.
        """
        return self._keep_rejected(self.stem, fetched.from_bytes(answer), reason)

    def _reject(self, stem: str, got: fetched.Fetched, reason: str) -> OxenBadImage:
        """Keep bytes that cannot be proved to be an image; return the error that says so."""
        where = self._keep_rejected(stem, got, reason)
        return OxenBadImage(
            f"The hub's answer is not a whole image ({reason}). Its {got.size} bytes are kept as {where}.",
            reason=reason,
        )

    def _keep_rejected(self, stem: str, got: fetched.Fetched, reason: str) -> str:
        got = fetched.without_key(self.api_key, got)
        # Do not overwrite earlier rejected bytes or their sidecars: they were paid for too.
        more = (f"{stem}.{number}.rejected" for number in itertools.count(2))
        names = itertools.chain((f"{stem}.rejected",), more)
        free = (name for name in names if self._seems_absent(name) and self._seems_absent(f"{name}.json"))
        name = next(name for name in free if self._writer.write(self.folder.create, name, got.file))
        record = {**self.facts, "file": name, "bytes": got.size, "sha256": got.sha256, "rejected": reason}
        if not self._writer.write(self.folder.create, f"{name}.json", io.BytesIO(sidecar.dump(record))):
            log.warning(
                "%s.json belongs to another image. The facts of %s are in this line only: %s",
                name,
                name,
                reason,
            )
        return self.folder.asset_uri(name)

    def _commit(self, records: Sequence[dict[str, Any]], answered: int) -> None:
        for record in reversed(records):
            while True:
                # The first image's sidecar comes last: by now the places of the others are final.
                stems = [_stem_of(one) for one in records]
                first = {"stems": stems, "images": answered} if record["index"] == 1 else {}
                if self._write_sidecar(_stem_of(record), sidecar.dump({**record, **first})):
                    break
                record["file"] = self._keep_elsewhere(record)

    def _write_sidecar(self, stem: str, content: bytes) -> bool:
        """Write a sidecar; return False if another task's is there, which is not overwritten."""
        name, source = sidecar.name_of(stem), io.BytesIO(content)
        if stem not in self._replaced:
            if self._writer.write(self.folder.create, name, source):
                return True
            if self._writer.with_retries(sidecar.read, self.folder, stem).get("identity") != self._identity:
                return False
        self._writer.put(name, source)
        return True

    def _keep_elsewhere(self, record: Mapping[str, Any]) -> str:
        """Keep an image under another name, because another task has described its own under this name."""
        # If both images have the same bytes, both tasks take the file for theirs.
        self._lost_stems.add(_stem_of(record))
        index, suffix = record["index"], record["file"].rpartition(".")[2]
        return self._create(index, f".{suffix}", self._sources[index])


def _stem_of(record: Mapping[str, Any]) -> str:
    return str(record["file"]).rpartition(".")[0]
