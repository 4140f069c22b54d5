"""Links of a task in Airflow's web interface: to its image, its generation, and its model's page.

Each opens a page that you can read; where there is none, there is no link.

The operators push them as soon as they are known. So they work while a task runs or is deferred, after it has
failed, and for each task of a mapped one.
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
"""The website of a hub, by the hub's address."""


class _Pushed(BaseOperatorLink):
    """A link that its task has pushed."""

    key: str
    """Key of the XCom. On Airflow 3 the web interface reads the XCom itself, under :attr:`xcom_key`."""

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that holds the link."""
        return self.key

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the link that the task has pushed, or the empty string.

        :param operator: the web interface's operator or, when a task ends on Airflow 3, the one that was
            executed.
        :param ti_key: names the task instance; Airflow 3 passes the instance itself.
        """
        told: dict[str, str] | None = getattr(operator, "pushed_links", None)
        if told is not None and self.key in told:
            # On Airflow 3, asking for an XCom that is not there logs an error.
            return told[self.key]
        return str(XCom.get_value(ti_key=ti_key, key=self.key) or "")


class OxenGenerationLink(_Pushed):
    """Link to the task in the Images view, as soon as the hub has accepted its generation.

    The hub itself has no page for a generation: it answers with JSON, and only to the API key. Before Airflow
    3.1 there is no Images view and no such link.
    """

    name = "Generation in Images"
    key = "_link_OxenGenerationLink"


class OxenImageLink(_Pushed):
    """Link to the kept image, or to a batch's manifest, in the console of S3 or of Google Cloud Storage."""

    name = "Image in its store"
    key = "_link_OxenImageLink"


class OxenModelLink(_Pushed):
    """Link to the page of the task's model."""

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
    """Return the page of an object in its store's web console, or None if the store has none.

    :param path: the path as in a result; an id of a connection in it is left out. The path does not say
        whether the store is Amazon's or Google's own; the task knows.
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
