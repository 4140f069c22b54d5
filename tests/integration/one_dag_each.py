"""An auth manager that looks at the Dag, which Airflow's simple one does not."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class OneDagEach(SimpleAuthManager):
    """Lets a user read the XComs of Dags that begin with the user's name; ``all`` those of all Dags."""

    def is_authorized_dag(
        self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None
    ) -> bool:
        dag_id = details.id if details else None
        return access_entity is DagAccessEntity.XCOM and bool(
            user.username == "all" or (dag_id and dag_id.startswith(user.username))
        )
