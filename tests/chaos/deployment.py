"""An Airflow of several processes: each component in a session of its own, all ended by the watchdog."""

from __future__ import annotations

import secrets
import sys
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.chaos import states
from tests.chaos.environment import common, newest, oldest
from tests.chaos.rest import PATIENCE, Rest
from tests.chaos.sessions import Command, Sessions, free_port

ROOT = Path(__file__).resolve().parents[2]

DAGS = Path(__file__).parent / "dags"

AIRFLOW = version("apache-airflow")

IS_NEWEST = AIRFLOW.startswith("3.")


class Deployment(Sessions):
    """A running Airflow of the version that this Python has.

    Use it as a context manager. SQLite in WAL mode holds: the few processes wait for each other. The home
    stays.

    :param home: an empty folder.
    :param connections: further environment: the rows' connections and table.
    :param dags: the folder of its Dags.
    :param triggerer: whether a triggerer runs from the beginning.
    """

    def __init__(
        self, home: Path, connections: Mapping[str, str], dags: Path = DAGS, *, triggerer: bool = True
    ) -> None:
        super().__init__(home)
        self._has_triggerer = triggerer
        self.home = home
        self.database = home / "airflow.db"
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        self.rest = Rest(url)
        secret = new_secret()
        line = newest(url, secret) if IS_NEWEST else oldest()
        self.env = common(home, dags, ROOT, secret) | line | dict(connections)

    def _start(self) -> None:
        self._airflow("db", "migrate")
        if self.wait("db", PATIENCE):
            raise SystemExit(f"Airflow's database could not be made:\n{self.log('db')[-4000:]}")
        states.use_wal(self.database)
        if IS_NEWEST:
            self._airflow("api-server", "--host", "127.0.0.1", "--port", str(self.port))
            self._airflow("dag-processor")
        # Their log servers would listen on every address.
        self._airflow("scheduler", "--skip-serve-logs")
        if self._has_triggerer:
            self.start_triggerer()

    def start_triggerer(self) -> None:
        self._airflow("triggerer", "--skip-serve-logs")

    def _airflow(self, component: str, *arguments: str) -> None:
        self.start(component, Command(airflow(component, *arguments), self.env, self.home))

    def dead(self) -> list[str]:
        """Return the components that have ended by themselves."""
        return [name for name in super().dead() if name != "db"]


def airflow(*words: str) -> list[str]:
    """Return the command line of one of Airflow's commands, of this Python's Airflow."""
    return [sys.executable, "-m", "airflow", *words]


def new_secret() -> str:
    """Return a secret that does as a Fernet key, too."""
    return urlsafe_b64encode(secrets.token_bytes(32)).decode()
