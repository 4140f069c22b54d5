"""Image generation on the Oxen.ai hub for Apache Airflow.

Importing this package imports nothing from Airflow: packaging tools and Airflow's own provider discovery read
it before Airflow is ready.
"""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "get_provider_info"]

__version__ = "0.1.0.dev0"


def get_provider_info() -> dict[str, Any]:
    """Return the metadata that Airflow reads; see :mod:`airflow_provider_oxen.provider_info`."""
    from airflow_provider_oxen.provider_info import get_provider_info as read

    return read()
