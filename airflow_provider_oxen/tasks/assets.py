"""Events for the assets of a task, and the spelling of a file that all of Airflow shares.

Airflow's server judges events after the task has ended: what it refuses there fails a task whose images are
paid for and kept, and nothing of it stands in the task's log. So nothing is handed over that it would refuse.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from airflow_provider_oxen.api.redact import scrub, without_queries
from airflow_provider_oxen.jobs.plain import plain as plain_json

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Asset

__all__ = ["OutputFile", "add_asset_events", "asset", "asset_uri", "plain"]

_KEPT = "".join(sorted({*string.punctuation, " "} - {*"?#"}))
"""What stands in a URI as it does in the path, beside letters and digits."""

_MOST = 65_536
"""Bytes of facts in one event: it is kept in Airflow's database, and handed to each Dag that it triggers."""

_REFERENCES = ("AssetNameRef", "AssetUriRef")
"""What ``Asset.ref`` makes, from Airflow 3 on."""

_SHOWN = 500
"""Characters of a reason."""


class OutputFile(NamedTuple):
    """An output of a task.

    :ivar path: as the result tells it.
    :ivar facts: plain JSON, for an asset event.
    :ivar size: in bytes, of all files of it.
    :ivar files: how many.
    :ivar sha256: of the file; None for several.
    """

    path: str
    facts: dict[str, Any]
    size: int | None
    files: int
    sha256: str | None = None


def plain(path: str) -> str:
    """Return a path without the id of its connection, and without a query."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def asset_uri(path: str) -> str:
    """Return the URI that a file has in Airflow's assets: spelled as it is written in a ``storage_path``.

    Airflow itself escapes nothing, and its server takes ASCII only: so all else is percent-encoded.

    :param path: as a result tells it.
    """
    return quote(f"file://{path}" if path.startswith("/") else plain(path), safe=_KEPT)


def asset(path: str) -> Asset:
    """Return the asset that a file is.

    :param path: as a result tells it.
    :raises ValueError: where Airflow takes no such asset, saying why.
    """
    from airflow.providers.common.compat.sdk import Asset

    made = Asset(asset_uri(path))
    # Airflow 3 tells assets apart by name and URI; one without a name of its own is named by its URI.
    return made if getattr(made, "name", made.uri) == made.uri else Asset(name=made.uri, uri=made.uri)


def add_asset_events(operator: Any, context: Any, files: list[OutputFile]) -> None:
    """Give the events of a task's outlets their facts, and an alias its assets.

    An ``Asset`` among the outlets, or a reference to one, gets the facts of the first output, an
    ``AssetAlias`` an event for each. What cannot be given is a warning, and no more: the images are kept.
    """
    from airflow.providers.common.compat.sdk import Asset, AssetAlias

    for outlet in operator.outlets:
        name = getattr(outlet, "name", None) or getattr(outlet, "uri", None)
        if isinstance(outlet, AssetAlias):
            for one in files:
                lost = f"No Dag runs for {plain(one.path)}: there is no event under the alias {name!r}"
                with _warned(operator, lost):
                    _add(context["outlet_events"][outlet], asset(one.path), _facts(one))
        elif files and (isinstance(outlet, Asset) or type(outlet).__name__ in _REFERENCES):
            with _warned(operator, f"The event of the asset {name!r} tells nothing of the output"):
                facts = _facts(files[0])
                context["outlet_events"][outlet].extra["oxen"] = facts


def _add(events: Any, one: Any, facts: Mapping[str, Any]) -> None:
    """Give an alias an event.

    Airflow 2.11 takes nothing nested for one: there the facts are a JSON text.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    if not AIRFLOW_V_3_0_PLUS:
        events.add(one, extra={"oxen": json.dumps(facts)})
        return
    extra = {"oxen": facts}
    try:
        # What a Dag has declared of that URI, whatever its name there: others wait for that one.
        events.add(type(one).ref(uri=one.uri), extra=extra)
    except Exception:
        events.add(one, extra=extra)


def _facts(one: OutputFile) -> dict[str, Any]:
    """Return an output's facts.

    :raises ValueError: where Airflow could not hand them on, or its database not hold them.
    """
    # None of it may be an integer, a number or a text that JSON, or Airflow's own messages, do not have.
    facts: dict[str, Any] = plain_json("facts", one.facts)
    size = len(json.dumps(facts, ensure_ascii=False, allow_nan=False).encode())
    if size > _MOST:
        raise ValueError(f"its facts are {size:,} bytes, and {_MOST:,} are told at most")
    return facts


@contextmanager
def _warned(operator: Any, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        why = without_queries(f"{type(error).__name__}: {error}")[:_SHOWN].rstrip(".")
        operator.log.warning("%s: %s. The output is kept, and the task continues.", scrub(what), why)
