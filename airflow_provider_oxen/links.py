"""Links of a task in Airflow's web interface: to its image, to its generation and to its model's page.

Each opens a page that a person can read; where there is none, there is no link.

The operators push them as soon as they are known, so that they work while a task runs or is deferred,
after it failed, and for each task of a mapped one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

__all__ = ["OxenGenerationLink", "OxenImageLink", "OxenModelLink", "console", "images_page", "model_page"]

_PAGES = {"https://hub.oxen.ai": "https://www.oxen.ai"}
"""Where the pages of a hub are that are for people."""


class _Pushed(BaseOperatorLink):
    """A link that its task has pushed."""

    key: str
    """Of the XCom. On Airflow 3 the web interface reads it there itself, under :attr:`xcom_key`."""

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that holds the link."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return what the task has pushed, or the empty string.

        :param operator: of the web interface, or, on Airflow 3, the very one that was executed, when it ends.
        :param ti_key: whatever names the task instance: Airflow 3 gives the instance itself.
        """
        told: dict[str, str] | None = getattr(operator, "pushed_links", None)
        if told is not None and self.key in told:
            # Airflow 3 calls it an error in the log to ask for an XCom that is not there.
            return told[self.key]
        return str(XCom.get_value(ti_key=ti_key, key=self.key) or "")


class OxenGenerationLink(_Pushed):
    """To the task in the Images view, from the moment when the hub has accepted its generation.

    The hub itself has no page of a generation: it answers with JSON, and only to the key. Before Airflow 3.1,
    which has no Images view either, there is no such link.
    """

    name = "Generation in Images"
    key = "_link_OxenGenerationLink"


class OxenImageLink(_Pushed):
    """To the kept image, or a batch's manifest, in its store's own console: of S3 and of Google's store."""

    name = "Image in its store"
    key = "_link_OxenImageLink"


class OxenModelLink(_Pushed):
    """To the page of the task's model."""

    name = "Model on Oxen.ai"
    key = "_link_OxenModelLink"


def model_page(hub: str, model: str) -> str:
    """Return the address of a model's page.

    :param hub: the connection's origin.
    """
    return f"{_PAGES.get(hub, hub)}/ai/models/{quote(model, safe='')}"


def images_page(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """Return the address of a task instance in the Images view.

    It is relative to Airflow's root, as the web interface reads it: so it is found under any host and path,
    and a worker need not know them.

    :param map_index: -1 of a task that is not mapped.
    """
    run, task = quote(run_id, safe=""), quote(task_id, safe="")
    return f"oxen/images/{quote(dag_id, safe='')}?run_id={run}&task_id={task}&map_index={map_index}"


def console(path: str | None) -> str | None:
    """Return the page of an object in its store's own web console, where there is one.

    :param path: as a result tells it; the id of a connection in it is left out. It does not say whether the
        store is Amazon's or Google's own: the task knows.
    """
    try:
        parts = urlsplit(path or "")
        bucket, key = parts.netloc.rpartition("@")[2], parts.path.lstrip("/")
    except ValueError:
        return None
    if not key or not re.fullmatch(r"[A-Za-z0-9._-]+", bucket):
        return None
    if parts.scheme in ("s3", "s3a"):
        return f"https://s3.console.aws.amazon.com/s3/object/{bucket}?prefix={quote(key, safe='')}"
    if parts.scheme in ("gs", "gcs"):
        return f"https://console.cloud.google.com/storage/browser/_details/{bucket}/{quote(key)}"
    return None
