"""The outputs of a task for other systems: facts for asset events, and datasets for OpenLineage.

A failure here never fails the task: the images are kept. No prompt text and no signed link is passed on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import getLogger
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_oxen.api.redact import describe_error
from airflow_provider_oxen.images.folder import Folder
from airflow_provider_oxen.tasks.assets import OutputFile, asset, plain

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

__all__ = ["lineage", "of_images", "of_manifest", "report_lineage"]

log = getLogger(__name__)


def of_images(result: Mapping[str, Any]) -> list[OutputFile]:
    """Return the stored images in a single operator's result."""
    known = ("model", "seed", "generation_id", "cost", "reused")
    common = {name: result[name] for name in known if name in result}
    return [
        OutputFile(
            image["path"],
            common | {name: value for name, value in image.items() if name != "path"},
            image["bytes"],
            1,
            image["sha256"],
        )
        for image in result["images"]
        if "path" in image
    ]


def of_manifest(result: Mapping[str, Any]) -> list[OutputFile]:
    """Return the output of a batch: its manifest, which names the images."""
    facts = {name: value for name, value in result.items() if name != "failures"}
    return [OutputFile(result["manifest"], facts, result["bytes"], result["generated"] + result["reused"])]


def lineage(
    hub: str, models: list[str], files: list[OutputFile], prompts: str | None = None
) -> OperatorLineage[Any, Any]:
    """Return the lineage for OpenLineage: the models are inputs, the files are outputs.

    :param hub: the connection's origin.
    :param prompts: path of the file of prompts, if there is one.
    """
    from airflow.providers.common.compat.openlineage.facet import (
        Dataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.facet_v2 import dataset_version_dataset as versions

    inputs = [Dataset(namespace=f"oxen://{urlsplit(hub).netloc}", name=model) for model in models]
    if prompts:
        namespace, name = _named(prompts)
        inputs.append(Dataset(namespace=namespace, name=name))
    outputs = []
    for one in files:
        statistics = OutputStatisticsOutputDatasetFacet(size=one.size, fileCount=one.files)
        version = versions.DatasetVersionDatasetFacet(datasetVersion=f"sha256:{one.sha256}")
        namespace, name = _named(one.path)
        outputs.append(
            OutputDataset(
                namespace=namespace,
                name=name,
                facets={"version": version} if one.sha256 else {},
                outputFacets={"outputStatistics": statistics},
            )
        )
    return OperatorLineage(inputs=inputs, outputs=outputs)


def _named(path: str) -> tuple[str, str]:
    """Return a file's OpenLineage namespace and name: bucket and key, or ``file`` and a path."""
    local = path.removeprefix("file://")
    if local.startswith("/"):
        return "file", local
    parts = urlsplit(plain(path))
    return f"{parts.scheme}://{parts.netloc}", parts.path.removeprefix("/")


def report_lineage(folder: Folder, files: Iterable[str]) -> None:
    """Report the written files to Airflow's lineage."""
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    for name in files:
        try:
            collector: Any = get_hook_lineage_collector()
            collector.add_output_asset(context=folder, uri=asset(folder.uri(name)).uri)
        except Exception as error:
            # The images are kept: a failing collector must not fail the task.
            log.warning(
                "The lineage of the images could not be reported (%s): %s", name, describe_error(error)
            )
