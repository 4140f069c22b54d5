"""The Airflow that the browser sees: real processes, one user, the examples and the tests' own Dags."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.deployment import ROOT, Deployment
from tests.chaos.rest import PATIENCE

DAGS = Path(__file__).with_name("dags")

USER, PASSWORD = "admin", "admin"

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")

TAIL = 60
"""Lines of each component's log that a failed test shows."""

_PAUSE = 0.5


class Site(Deployment):
    """A running Airflow with a user to sign in as; its Dags begin paused, as a new user finds them.

    :param home: an empty folder, or none yet. The logs stay in it.
    :param connections: the environment that holds its connections.
    """

    def __init__(self, home: Path, connections: Mapping[str, str]) -> None:
        dags = home / "dags"
        for folder in (ROOT / "example_dags", DAGS):
            shutil.copytree(folder, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({USER: PASSWORD}))
        settings = {
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            # Few enough that the interface stays quick on two cores.
            "AIRFLOW__CORE__PARALLELISM": "4",
        }
        super().__init__(home, settings | dict(connections), dags)
        self._token = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trigger(self, dag_id: str, run_id: str) -> None:
        """Unpause a Dag and run it, as soon as Airflow knows it."""
        self._until(f"{dag_id} cannot be run", lambda: self._trigger(dag_id, run_id))

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task instance; of a mapped one by ``task_id[map_index]``."""
        answer = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")
        return {
            ti["task_id"] if ti["map_index"] < 0 else f"{ti['task_id']}[{ti['map_index']}]": ti["state"]
            for ti in answer["task_instances"]
        }

    def wait_for(self, dag_id: str, run_id: str, wanted: Mapping[str, str]) -> None:
        """Wait until task instances are in these states."""

        def there() -> bool:
            return wanted.items() <= self.tasks(dag_id, run_id).items()

        self._until(f"{dag_id} did not come to {dict(wanted)}", there)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the REST API as the user."""
        if not self._token:
            fields = {"username": USER, "password": PASSWORD}
            self._token = self.rest.send("POST", "/auth/token", fields)["access_token"]
        return self.rest.send(method, path, body, authorization=f"Bearer {self._token}")

    def tails(self) -> Iterable[tuple[str, str]]:
        """Yield the name and the last lines of each component's log."""
        for component in COMPONENTS:
            if (self.home / f"{component}.log").exists():
                yield component, "\n".join(self.log(component).splitlines()[-TAIL:])

    def _trigger(self, dag_id: str, run_id: str) -> bool:
        self.ask("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})
        self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        return True

    def _until(self, trouble: str, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        last: object = None
        while True:
            try:
                if done():
                    return
            except urllib.error.URLError as error:
                # The API server is not up, or the Dag has not been parsed yet.
                last = error
            if dead := self.dead():
                raise AssertionError(f"{trouble}: Airflow's {dead[0]} has ended")
            if time.monotonic() > end:
                raise AssertionError(f"{trouble}: {last}")
            time.sleep(_PAUSE)
