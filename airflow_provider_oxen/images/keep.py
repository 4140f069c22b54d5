"""Paid results become files: fetch, prove, write, and only then say so.

Whatever goes wrong here goes wrong after the money was spent: every image of the answer is kept
as far as it can be before the first failure is reported.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenBadImage, OxenImageError, OxenStorageError
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.api.retries import insist
from airflow_provider_oxen.images import fetch, sidecar, verify
from airflow_provider_oxen.images.names import numbered
from airflow_provider_oxen.images.preview import Size, preview
from airflow_provider_oxen.images.storage import Folder

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Keeper"]

T = TypeVar("T")

log = logging.getLogger(__name__)

_ATTEMPTS = 6
"""Attempts at a write or a look, some 30 s in all: enough for a hiccup, little beside what was paid."""


@dataclass
class Keeper:
    """Keeps the images of one answer.

    :param facts: what every sidecar tells: request, model, seed, fingerprint, Dag, run, task…
    :param mark: identity and try, for the names of unfinished files.
    :param replacing: whether a finished output is being replaced.
    :param ours: names of images that this very job wrote when an earlier try was stopped.
    :param claim: told the name of an image before it is written there.
    :param preview: how large a preview the sidecars hold; None for none.
    :param between: stands between the stem and the number of a further image.
    """

    client: Client
    folder: Folder
    stem: str
    facts: Mapping[str, Any]
    mark: str
    max_bytes: int = fetch.MAX_BYTES
    replacing: bool = False
    ours: Collection[str] = ()
    claim: Callable[[str], None] = lambda name: None
    preview: Size | None = None
    between: str = "-"
    sleep: Callable[[float], None] = time.sleep
    _failed: list[OxenImageError] = field(default_factory=list, init=False)
    _replaced: Set[str] = field(default=frozenset(), init=False)
    _old_files: Set[str] = field(default=frozenset(), init=False)

    def keep(self, items: Sequence[ImageItem]) -> list[dict[str, Any]]:
        """Keep all images and return their records, in the answer's order.

        :raises OxenImageError: the first thing that went wrong, after all else was kept.
        """
        if self.replacing:
            with self._noted("The old output's sidecar"):
                self._mark_replaced()
        records: list[dict[str, Any]] = []
        for index, item in enumerate(items, start=1):
            with self._noted(f"Image {index} of {len(items)}"):
                records.append(self._image(index, item))
        with self._noted("The sidecars"):
            self._commit(records, len(items))
        if not any(isinstance(error, OxenStorageError) for error in self._failed):
            with contextlib.suppress(OSError):
                self.folder.clean(self.mark)
        if self._failed:
            raise self._failed[0]
        return records

    @contextlib.contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        """Note an error for the end: what comes after it was paid for too."""
        try:
            yield
            return
        except OxenImageError as error:
            failure = error
        except Exception as error:
            # Whatever it is, it came after the money and must not look like something that a retry mends.
            failure = OxenImageError(f"What was paid for could not be kept: {_said(error)}")
        log.error("%s: %s", what, failure)
        self._failed.append(failure)

    def _mark_replaced(self) -> None:
        """Say that from here until the new sidecar the place is neither the old output nor the new."""
        stems, files = self._insist(sidecar.parts_of, self.folder, self.stem)
        unfinished = {**self.facts, "replacing": True, "stems": stems, "files": files}
        self._put(sidecar.name_of(self.stem), sidecar.dump(unfinished))
        self._replaced, self._old_files = {self.stem, *stems}, set(files)

    def _stem(self, index: int, suffix: str) -> str:
        """Return a name whose place is free, or ours to replace.

        How many images come is known only now, and where a place was free before minutes of waiting
        another task may have put its image: that was paid for too, and keeps its place.
        """
        stem = numbered(self.stem, index, self.between)
        if stem in self._replaced and self._is_old(f"{stem}{suffix}"):
            return stem
        own = f"{stem}-{self.mark.partition('.')[0]}"
        names = itertools.chain((stem, own), (f"{own}-{number}" for number in itertools.count(2)))
        # Where the store cannot tell, a look before the money was spent has found the first place to be ours.
        unknown = stem if index == 1 else f"{stem}-{self.mark}"
        free = self._free(names, self._is_free, unknown)
        if free != stem:
            log.warning("%s is taken; the image goes to %s.", *map(self.folder.asset_uri, (stem, free)))
        return free

    def _is_free(self, stem: str) -> bool:
        return sidecar.is_free(self.folder, stem, self.ours, str(self.facts.get("identity", "")))

    def _is_old(self, name: str) -> bool:
        """Whether a file may be written over: it belongs to the output that is replaced, or is not there."""
        return name in self._old_files or self._insist(self.folder.size, name) is None

    def _free(self, names: Iterable[str], is_free: Callable[[str], bool], unknown: str) -> str:
        """Return the first free name, or ``unknown`` where the store cannot tell."""
        try:
            return next(name for name in names if self._insist(is_free, name))
        except Exception as error:
            log.warning("The store cannot tell what is there: %s", _said(error))
            return unknown

    def _image(self, index: int, item: ImageItem) -> dict[str, Any]:
        stem = numbered(self.stem, index, self.between)
        got = self._fetch(stem, item)
        try:
            got, seen, small = self._proved(stem, index, item, got)
        except OxenBadImage as error:
            raise self._reject(stem, got, error.reason) from None
        else:
            # The look for a free place comes last, to leave others no time to take it.
            name = f"{self._stem(index, seen.suffix)}{seen.suffix}"
            self.claim(name)
            self._put(name, got)
        finally:
            got.close()
        record = {
            **self.facts,
            "file": name,
            "index": index,
            "media_type": seen.media_type,
            "width": seen.width,
            "height": seen.height,
            "bytes": got.size,
            "sha256": got.sha256,
            "kept_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if item.revised_prompt:
            record["revised_prompt"] = item.revised_prompt
        if small:
            record["preview"] = small
        return record

    def _proved(
        self, stem: str, index: int, item: ImageItem, got: fetch.Fetched
    ) -> tuple[fetch.Fetched, verify.Facts, str | None]:
        """Prove the bytes; those of a link are fetched once more where they are no image."""
        try:
            return got, *self._seen(got)
        except OxenBadImage as error:
            if not item.url:
                raise
            # Something on the way may have answered in place of the hub, which has the image all the same.
            log.warning("Image %d: %s Fetching it once more.", index, error)
        again = self._fetch(stem, item)
        try:
            seen, small = self._seen(again)
        except BaseException:
            again.close()
            raise
        got.close()
        return again, seen, small

    def _seen(self, got: fetch.Fetched) -> tuple[verify.Facts, str | None]:
        """Prove an image, and make its preview of what was decoded for that."""
        made: list[str | None] = [None]

        def look(image: Image.Image) -> None:
            if self.preview:
                made[0] = preview(image, self.preview)

        return verify.prove(got.file, look), made[0]

    def _fetch(self, stem: str, item: ImageItem) -> fetch.Fetched:
        if item.b64_json:
            try:
                return fetch.from_base64(item.b64_json)
            except OxenBadImage as error:
                raise self._reject(stem, fetch.from_bytes(item.b64_json.encode()), error.reason) from None
        if not item.url:
            raise OxenImageError(
                "The hub answered an image with neither a link nor bytes. It may be paid for."
            )
        return fetch.from_url(self.client, item.url, self.max_bytes, self.sleep)

    def _reject(self, stem: str, got: fetch.Fetched, reason: str) -> OxenBadImage:
        """Keep what cannot be proved to be an image, and return the error that says so."""
        numbers = itertools.chain(("",), (f".{number}" for number in itertools.count(2)))
        # Earlier rejected bytes were paid for too: they are not covered.
        name = self._free(
            (f"{stem}{number}.rejected" for number in numbers),
            lambda name: self.folder.size(name) is None,
            f"{stem}.{self.mark}.rejected",
        )
        self._put(name, got)
        record = {**self.facts, "file": name, "bytes": got.size, "sha256": got.sha256, "rejected": reason}
        self._put(f"{name}.json", sidecar.dump(record))
        return OxenBadImage(
            f"The hub's answer is not a whole image ({reason}). It was paid for, so its {got.size} bytes are "
            f"kept as {self.folder.asset_uri(name)}.",
            reason=reason,
        )

    def _commit(self, records: Sequence[dict[str, Any]], answered: int) -> None:
        stems = [record["file"].rpartition(".")[0] for record in records]
        for stem, record in reversed(list(zip(stems, records, strict=True))):
            first = {"stems": stems, "images": answered} if record["index"] == 1 else {}
            self._put(sidecar.name_of(stem), sidecar.dump({**record, **first}))

    def _put(self, name: str, content: fetch.Fetched | bytes) -> None:
        source = io.BytesIO(content) if isinstance(content, bytes) else content.file
        try:
            self._insist(self.folder.put, name, source, self.mark)
        except Exception as error:
            raise OxenStorageError(
                f"The image was paid for and fetched, but {self.folder.asset_uri(name)} could not be written "
                f"in {_ATTEMPTS} attempts: {_said(error)}"
            ) from None

    def _insist(self, ask: Callable[..., T], *arguments: Any) -> T:
        """Ask the store, again where it does not answer."""
        return insist(self._again, ask, *arguments)

    def _again(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=1),
            before_sleep=_tell,
            sleep=self.sleep,
            reraise=True,
        )


def _tell(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("The store failed (attempt %d of %d): %s", state.attempt_number, _ATTEMPTS, _said(error))


def _said(error: BaseException | None) -> str:
    """Return an error in words; of a link in them only the part that is not signed."""
    return f"{type(error).__name__}: {without_queries(str(error))}"
