"""Lines of a manifest, of rows that no source has."""

from __future__ import annotations

from typing import Any

from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.batch import report
from airflow_provider_oxen.batch.rowstore import Row

__all__ = ["line_of"]


def line_of(
    number: int, name: str, status: str, prompt: str = "A cube", model: str = "z-image-turbo", **facts: Any
) -> dict[str, Any]:
    # Unchecked: half a character may be in them.
    request = GenerateRequest.model_construct(model=model, prompt=prompt)
    return report.line(Row(number, number, name, name, "f", request), status, **facts)
