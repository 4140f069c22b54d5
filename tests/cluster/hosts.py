"""Airflow's ``hostname_callable``: a name for each worker and triggerer, though they share a machine."""

from __future__ import annotations

import os

HOST = "OXEN_CLUSTER_HOST"


def name() -> str:
    return os.environ.get(HOST, "central")
