"""The arguments of the sensors, read once, after rendering."""

from __future__ import annotations

from pydantic import Field  # noqa: TID253 (imported to look, not to parse a Dag file)

from airflow_provider_oxen.jobs.arguments import Arguments, Boolean, Name, Names, OptionalText, Text

__all__ = ["GenerationArguments", "ModelArguments"]


class GenerationArguments(Arguments):
    """Arguments of the generation sensor."""

    generation_id: Text
    target_namespace: OptionalText = None
    oxen_conn_id: Name = "oxen_default"


class ModelArguments(Arguments):
    """Arguments of the model sensor."""

    model: Text
    parameters: Names = Field(default_factory=dict)
    fail_fast: Boolean = False
    oxen_conn_id: Name = "oxen_default"
