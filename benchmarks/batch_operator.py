"""The batch operator on its own, without Airflow's machinery: imported by measured processes only."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

__all__ = ["run"]


def run(prompts: Sequence[str] | str, folder: Path, **arguments: Any) -> dict[str, Any]:
    """Execute the operator once and return its result.

    :param prompts: texts, or the path of a file of them.
    """
    from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator

    logging.getLogger().setLevel(logging.WARNING)
    operator = ImageBatchGenerateOperator(
        task_id="batch",
        prompts=prompts if isinstance(prompts, str) else list(prompts),
        storage_path=f"{folder}/",
        **{"model": "z-image-turbo", "deferrable": False, **arguments},
    )
    ti = SimpleNamespace(
        dag_id="bench",
        # One that is new each time: what another try of one run had made would be told as made by it.
        run_id=f"bench_{uuid.uuid4()}",
        task_id="batch",
        map_index=-1,
        try_number=1,
        max_tries=0,
        task=operator,
        xcom_push=lambda key, value: None,
    )
    # Airflow guards it against being called by others.
    return dict(type(operator).execute.__wrapped__(operator, {"ti": ti}))  # type: ignore[attr-defined]
