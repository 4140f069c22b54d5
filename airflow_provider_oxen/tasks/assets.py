"""Events for a task's assets, and the spelling of a file's URI that all of Airflow shares.

Airflow's server checks events after the task has ended. An event that it refuses there fails a task whose
images are paid for and kept, without a word in the task's log. So nothing is sent that it would refuse.
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
"""Characters that stay the same in a URI, beside letters and digits."""

_MOST = 65_536
"""Most bytes of facts in one event: it is stored in Airflow's database, and passed to each Dag that it
triggers."""

_REFERENCES = ("AssetNameRef", "AssetUriRef")
"""What ``Asset.ref`` returns, from Airflow 3 on."""

_SHOWN = 500
"""Characters shown of a reason."""


class OutputFile(NamedTuple):
    """An output of a task.

    :ivar facts: plain JSON, for an asset event.
    :ivar size: in bytes, over all its files.
    :ivar sha256: hash of the file; None for several.
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
    """Return a file's URI in Airflow's assets, spelled as in a ``storage_path``.

    Airflow itself escapes nothing, and its server accepts only ASCII. So all other characters are
    percent-encoded.

    :param path: the path in a result.
    """
    return quote(f"file://{path}" if path.startswith("/") else plain(path), safe=_KEPT)


def asset(path: str) -> Asset:
    """Return the asset for a file.

    :param path: the path in a result.
    :raises ValueError: if Airflow accepts no such asset, saying why.
    """
    from airflow.providers.common.compat.sdk import Asset

    made = Asset(asset_uri(path))
    # Airflow 3 tells assets apart by name and URI; the name of an unnamed one is its URI.
    return made if getattr(made, "name", made.uri) == made.uri else Asset(name=made.uri, uri=made.uri)


def add_asset_events(operator: Any, context: Any, files: list[OutputFile]) -> None:
    """Add the facts to the events of a task's outlets, and assets to its aliases.

    An ``Asset`` in the outlets, or a reference to one, gets the facts of the first output; an ``AssetAlias``
    gets an event for each. A failure is only a warning: the images are kept.
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
    """Add an event to an alias.

    Airflow 2.11 accepts nothing nested there, so the facts are a JSON text.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    if not AIRFLOW_V_3_0_PLUS:
        events.add(one, extra={"oxen": json.dumps(facts)})
        return
    extra = {"oxen": facts}
    try:
        # Use the asset that a Dag has declared with this URI, whatever its name: others wait for that one.
        events.add(type(one).ref(uri=one.uri), extra=extra)
    except Exception:
        events.add(one, extra=extra)


def _facts(one: OutputFile) -> dict[str, Any]:
    """Return an output's facts.

    :raises ValueError: if Airflow could not pass them on, or its database not store them.
    """
    # Every integer, number and text must be one that JSON and Airflow's own messages can hold.
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
