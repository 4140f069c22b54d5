"""The XComs that Airflow's web interface shows of a task: links, and previews for the Images view.

A failure here never fails the task: if Airflow does not accept them, a warning is logged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from airflow_provider_oxen.api.redact import without_queries
from airflow_provider_oxen.images.folder import Folder
from airflow_provider_oxen.images.preview import LARGE, Size
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.links import (
    OxenGenerationLink,
    OxenImageLink,
    OxenModelLink,
    console,
    images_page,
    model_page,
)
from airflow_provider_oxen.tasks.assets import plain

__all__ = ["KEY", "MAX_IMAGES", "TaskXComs", "has_views", "of_manifest", "of_result", "warn_on_failure"]

KEY = "oxen_images"
"""Key of the XCom with the previews."""

MAX_IMAGES = 24
"""How many images of a task are shown: at most about 300 KiB of XCom, in Airflow's database."""

_PROMPT = 4000
"""Characters of a prompt that are shown, and copied: longer ones are rare."""

_REQUEST, _PARAMETER = 4000, 1000
"""Characters of a request's other parameters, and of one of them, as JSON: an image in a request is longer,
and left out."""


@dataclass
class TaskXComs:
    """Pushes the XComs of one task.

    :param wanted: the operator's ``previews``.
    :param pushed: receives each pushed text, by key.
    """

    ti: Any
    log: Any
    wanted: bool
    pushed: dict[str, str] = field(default_factory=dict)
    folder: Folder | None = None

    def __post_init__(self) -> None:
        # Before Airflow 3.1 a plugin has no place in its web interface.
        self.wanted = self.wanted and has_views()

    @property
    def size(self) -> Size | None:
        """How large a preview each image gets; None for none."""
        return LARGE if self.wanted else None

    @property
    def is_public(self) -> bool:
        """Whether the output is where its URL says, and so can be seen in its store's own console."""
        return self.folder is None or self.folder.is_public

    def push_request(self, hub: str, model: str | None, prompt: str | None, total: int = 1) -> None:
        """Show what is requested, before the request is sent.

        :param hub: the connection's origin.
        :param total: number of images, if known.
        """
        if model:
            with warn_on_failure(self.log, OxenModelLink.key):
                self.push(OxenModelLink.key, model_page(hub, model))
        asked = [_known(prompt=_short(prompt), model=model)] if prompt else []
        self._images(asked, total)

    def push_images(self, images: Iterable[Mapping[str, Any]], total: int) -> None:
        """Show the images.

        :param images: see :func:`of_result` and :func:`of_manifest`; only the first ones are shown.
        :param total: how many there are in all.
        """
        self._images(list(islice(images, MAX_IMAGES)), total)

    def push_page(self, path: str | None) -> None:
        """Link to the output if its store has web pages."""
        if self.is_public and (page := console(path)):
            with warn_on_failure(self.log, OxenImageLink.key):
                self.push(OxenImageLink.key, page)

    def push_generation(self, generation_id: str, link: str) -> None:
        """Push where a generation can be followed.

        :param link: to the hub's JSON.
        """
        with warn_on_failure(self.log, "The generation's id"):
            self.push("generation_id", generation_id)
            self.push("generation_link", link)
            if has_views():
                page = images_page(*Identity.of(self.ti))
                self.push(OxenGenerationLink.key, page)

    def push(self, key: str, value: str) -> None:
        """Push a text.

        :raises Exception: whatever the XCom backend raises.
        """
        self.pushed[key] = value
        self.ti.xcom_push(key=key, value=value)

    def _images(self, images: Sequence[Mapping[str, Any]], total: int) -> None:
        if self.wanted:
            with warn_on_failure(self.log, KEY):
                elsewhere = {} if self.is_public else {"console": False}
                self.ti.xcom_push(key=KEY, value={"total": total, "images": images, **elsewhere})


def of_result(
    result: Mapping[str, Any],
    prompt: str,
    previews: Sequence[str | None],
    body: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return what is shown of a single operator's result."""
    padded = [*previews, *[None] * len(result["images"])]
    return [
        _known(
            prompt=_short(prompt),
            model=result.get("model"),
            seed=result.get("seed"),
            cost=result.get("cost"),
            status="reused" if result["reused"] else "generated",
            width=image.get("width"),
            height=image.get("height"),
            bytes=image.get("bytes"),
            path=_place(image),
            request=_request(body),
            preview=preview,
        )
        for image, preview in zip(result["images"], padded, strict=False)
    ]


def of_manifest(
    line: Mapping[str, Any], preview: str | None, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what is shown of a line of a batch's manifest."""
    facts = ("id", "model", "seed", "cost", "status", "width", "height", "error")
    return _known(
        **{name: line.get(name) for name in facts},
        prompt=_short(line.get("prompt")),
        bytes=line.get("size"),
        path=_place(line),
        request=_request(body),
        preview=preview,
    )


def _known(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _short(prompt: str | None) -> str | None:
    return prompt if prompt is None or len(prompt) <= _PROMPT else f"{prompt[: _PROMPT - 1]}…"


def _request(body: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the parameters beside prompt, model and seed, without images and the signatures of links."""
    shown: dict[str, Any] = {}
    room = _REQUEST
    for name, value in (body or {}).items():
        text = json.dumps(value, default=str)
        if name not in ("prompt", "model", "seed") and len(text) <= _PARAMETER and len(text) <= room:
            room -= len(text)
            shown[name] = _unsigned(json.loads(text))
    return shown or None


def _unsigned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unsigned(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_unsigned(one) for one in value]
    return without_queries(value) if isinstance(value, str) else value


def _place(facts: Mapping[str, Any]) -> str | None:
    return plain(facts["path"]) if "path" in facts else None


def has_views() -> bool:
    """Return whether Airflow's web interface has a place for the Images view: from 3.1 on."""
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_1_PLUS

    return AIRFLOW_V_3_1_PLUS


@contextmanager
def warn_on_failure(log: Any, what: str) -> Iterator[None]:
    """Only warn if Airflow does not accept an XCom."""
    try:
        yield
    except Exception as error:
        log.warning("%s could not be pushed to XCom: %s", what, without_queries(str(error)))
