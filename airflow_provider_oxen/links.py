"""Links of a task in Airflow's web interface: to its generation and to its model's page.

The operators push them as soon as they are known, so that they work while a task runs or is deferred,
after it failed, and for each task of a mapped one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.common.compat.sdk import BaseOperatorLink, XCom

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator

__all__ = ["OxenGenerationLink", "OxenModelLink", "model_page"]

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
        told: dict[str, str] | None = getattr(operator, "told_links", None)
        if told is not None:
            # Airflow 3 calls it an error in the log to ask for an XCom that is not there.
            return told.get(self.key, "")
        return str(XCom.get_value(ti_key=ti_key, key=self.key) or "")


class OxenGenerationLink(_Pushed):
    """To the generation on the hub, from the moment when it was accepted; reading it takes the key."""

    name = "Generation on Oxen.ai"
    key = "_link_OxenGenerationLink"


class OxenModelLink(_Pushed):
    """To the page of the task's model."""

    name = "Model on Oxen.ai"
    key = "_link_OxenModelLink"


def model_page(hub: str, model: str) -> str:
    """Return the address of a model's page.

    :param hub: the connection's origin.
    """
    return f"{_PAGES.get(hub, hub)}/ai/models/{quote(model, safe='')}"
