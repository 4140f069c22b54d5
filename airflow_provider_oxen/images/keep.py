"""Paid results become files: fetch, prove, write, and only then say so.

Whatever goes wrong here goes wrong after the money was spent: every image of the answer is kept
as far as it can be before the first failure is reported.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import tenacity

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import OxenBadImage, OxenImageError, OxenStorageError
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import fetch, sidecar, verify
from airflow_provider_oxen.images.names import numbered
from airflow_provider_oxen.images.storage import Folder

__all__ = ["Keeper"]

log = logging.getLogger(__name__)

_WRITES = 4
"""Attempts at a write, some 7 s in all: enough for a store's hiccup, short against what the image cost."""


@dataclass
class Keeper:
    """Keeps the images of one answer.

    :param facts: what every sidecar tells: request, model, seed, fingerprint, Dag, run, task…
    :param mark: identity and try, for the names of unfinished files.
    :param replacing: whether a finished output is being replaced.
    """

    client: Client
    folder: Folder
    stem: str
    facts: Mapping[str, Any]
    mark: str
    max_bytes: int = fetch.MAX_BYTES
    replacing: bool = False
    sleep: Callable[[float], None] = time.sleep
    _failed: list[OxenImageError] = field(default_factory=list)

    def keep(self, items: Sequence[ImageItem]) -> list[dict[str, Any]]:
        """Keep all images and return their records, in the answer's order.

        :raises OxenImageError: the first thing that went wrong, after all else was kept.
        """
        if self.replacing:
            # From here until the new sidecar the place is neither the old output nor the new.
            unfinished = {**self.facts, "replacing": True, "stems": [self.stem]}
            self._put(sidecar.name_of(self.stem), sidecar.dump(unfinished))
        records: list[dict[str, Any]] = []
        for index, item in enumerate(items, start=1):
            try:
                records.append(self._image(self._stem(index), index, item))
            except OxenImageError as error:
                log.error("Image %d of %d: %s", index, len(items), error)
                self._failed.append(error)
        self._commit(records, len(items))
        if not any(isinstance(error, OxenStorageError) for error in self._failed):
            self.folder.clean(self.mark)
        if self._failed:
            raise self._failed[0]
        return records

    def _stem(self, index: int) -> str:
        stem = numbered(self.stem, index)
        if index > 1 and not sidecar.is_ours(self.folder, stem):
            # How many images come is known only now; a stranger's file keeps its place.
            stem = f"{stem}-{self.mark.partition('.')[0]}"
        return stem

    def _image(self, stem: str, index: int, item: ImageItem) -> dict[str, Any]:
        got = self._fetch(stem, item)
        try:
            seen = verify.prove(got.file)
        except OxenBadImage as error:
            raise self._reject(stem, got, error.reason) from None
        else:
            name = f"{stem}{seen.suffix}"
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
        return record

    def _fetch(self, stem: str, item: ImageItem) -> fetch.Fetched:
        if item.b64_json:
            try:
                return fetch.from_base64(item.b64_json, self.max_bytes)
            except OxenBadImage as error:
                raw = item.b64_json.encode()
                raise self._reject(stem, fetch.Fetched(io.BytesIO(raw), len(raw), ""), error.reason) from None
        return fetch.from_url(self.client, str(item.url), self.max_bytes, self.sleep)

    def _reject(self, stem: str, got: fetch.Fetched, reason: str) -> OxenBadImage:
        """Keep what cannot be proved to be an image, and return the error that says so."""
        name = self._free(stem)
        self._put(name, got)
        record = {**self.facts, "file": name, "bytes": got.size, "sha256": got.sha256, "rejected": reason}
        self._put(f"{name}.json", sidecar.dump(record))
        return OxenBadImage(
            f"The hub's answer is not a whole image ({reason}). It was paid for, so its {got.size} bytes are "
            f"kept as {self.folder.asset_uri(name)}.",
            reason=reason,
        )

    def _free(self, stem: str) -> str:
        """Return a name for rejected bytes that covers no earlier ones: those were paid for too."""
        number, name = 1, f"{stem}.rejected"
        while self.folder.size(name) is not None:
            number += 1
            name = f"{stem}.{number}.rejected"
        return name

    def _commit(self, records: Sequence[dict[str, Any]], answered: int) -> None:
        stems = [record["file"].rpartition(".")[0] for record in records]
        for stem, record in reversed(list(zip(stems, records, strict=True))):
            first = {"stems": stems, "images": answered} if record["index"] == 1 else {}
            self._put(sidecar.name_of(stem), sidecar.dump({**record, **first}))

    def _put(self, name: str, content: fetch.Fetched | bytes) -> None:
        source = io.BytesIO(content) if isinstance(content, bytes) else content.file
        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_WRITES),
            wait=tenacity.wait_exponential(multiplier=1),
            before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
            sleep=self.sleep,
            reraise=True,
        )
        try:
            again(self.folder.put, name, source, self.mark)
        except Exception as error:
            raise OxenStorageError(
                f"The image was paid for and fetched, but {self.folder.asset_uri(name)} could not be written "
                f"in {_WRITES} attempts: {type(error).__name__}: {error}"
            ) from error
