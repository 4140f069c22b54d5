"""What a task tells others of its outputs: asset events with facts, and datasets for OpenLineage.

Nothing of it is worth an error: the images are kept. No text of a prompt goes out, and no signed link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

__all__ = ["Made", "lineage", "of_batch", "of_images", "plain", "tell_assets"]


class Made(NamedTuple):
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


def of_images(result: Mapping[str, Any]) -> list[Made]:
    """Return the stored images of a single operator's result."""
    told = ("model", "seed", "generation_id", "cost", "reused")
    common = {name: result[name] for name in told if name in result}
    return [
        Made(
            image["path"],
            common | {name: value for name, value in image.items() if name != "path"},
            image["bytes"],
            1,
            image["sha256"],
        )
        for image in result["images"]
        if "path" in image
    ]


def of_batch(result: Mapping[str, Any]) -> list[Made]:
    """Return the output of a batch: its manifest, which names the images."""
    facts = {name: value for name, value in result.items() if name != "failures"}
    return [Made(result["manifest"], facts, result["bytes"], result["generated"] + result["reused"])]


def tell_assets(operator: Any, context: Any, made: list[Made]) -> None:
    """Give the events of a task's outlets their facts, and an alias its assets.

    An ``Asset`` among the outlets gets the facts of the first output, an ``AssetAlias`` an event for each.
    Airflow 2.11 takes nothing nested for an alias: there the facts are a JSON text.
    """
    from airflow.providers.common.compat.sdk import Asset, AssetAlias
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    for outlet in operator.outlets:
        try:
            if isinstance(outlet, AssetAlias):
                for one in made:
                    facts = one.facts if AIRFLOW_V_3_0_PLUS else json.dumps(one.facts)
                    context["outlet_events"][outlet].add(Asset(_uri(one.path)), extra={"oxen": facts})
            elif isinstance(outlet, Asset) and made:
                context["outlet_events"][outlet].extra.update({"oxen": made[0].facts})
        except Exception as error:
            operator.log.warning("The event of %s could not be given its facts: %s", outlet, error)


def lineage(
    hub: str, models: list[str], made: list[Made], prompts: str | None = None
) -> OperatorLineage[Any, Any]:
    """Return what OpenLineage is told: the models went in, the files came out.

    :param hub: the connection's origin.
    :param prompts: path of the file of prompts, where there is one.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    inputs = [Dataset(namespace=f"oxen://{urlsplit(hub).netloc}", name=model) for model in models]
    if prompts:
        namespace, name = _named(prompts)
        inputs.append(Dataset(namespace=namespace, name=name))
    outputs = []
    for one in made:
        statistics = OutputStatisticsOutputDatasetFacet(size=one.size, fileCount=one.files)
        namespace, name = _named(one.path)
        outputs.append(
            OutputDataset(
                namespace=namespace,
                name=name,
                facets=dict(_version(one)),
                outputFacets={"outputStatistics": statistics},
            )
        )
    return OperatorLineage(inputs=inputs, outputs=outputs)


def plain(path: str) -> str:
    """Return a path without the id of its connection, and without a query."""
    if "://" not in path:
        return path
    parts = urlsplit(path)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _version(one: Made) -> Iterator[tuple[str, Any]]:
    from openlineage.client.facet_v2 import dataset_version_dataset

    if one.sha256:
        facet = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=f"sha256:{one.sha256}")
        yield "version", facet


def _uri(path: str) -> str:
    return plain(path) if "://" in path else Path(path).as_uri()


def _named(path: str) -> tuple[str, str]:
    """Return a file's namespace and name by OpenLineage's rules: bucket and key, or ``file`` and a path."""
    parts = urlsplit(_uri(path))
    if parts.scheme == "file":
        return "file", path.removeprefix("file://")
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/")
