"""PostgreSQL and Redis, of Debian's packages, as children of the harness: on loopback, in its own folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg2
import redis

from tests.chaos.sessions import Command, Sessions, free_port

PATIENCE = 60.0
"""Seconds that a server may take to start or to end."""


class Postgres:
    """A PostgreSQL with a database ``airflow``, run by a user without rights.

    :param home: an existing folder that every user may enter.
    """

    def __init__(self, home: Path, sessions: Sessions) -> None:
        self._sessions = sessions
        self._data = home / "data"
        self._home = home
        self.port = free_port()
        self.dsn = f"postgresql://airflow@127.0.0.1:{self.port}/airflow"

    def start(self) -> None:
        """Make the database, and serve it."""
        if os.geteuid() == 0:
            shutil.chown(self._home, _user())
        words = ["-U", "airflow", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8"]
        line = [*self._line("initdb"), "-D", str(self._data), *words]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, cwd=self._home)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 300,
            # What a crash of the machine would lose is not asked about here.
            "fsync": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        line = [*self._line("postgres"), "-D", str(self._data), *words]
        self._sessions.start("postgres", Command(line, dict(os.environ), self._home))
        self._until_it_answers("postgres")
        with contextlib.closing(self._connect("postgres")) as connection:
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE airflow")

    def stop(self) -> None:
        """End it in order, as a failover does: connections are cut, nothing is lost."""
        self._sessions.signal("postgres", signal.SIGINT)
        self._sessions.wait("postgres", PATIENCE)

    def start_again(self) -> None:
        self._sessions.start("postgres")
        self._until_it_answers("airflow")

    def dump(self, path: Path) -> None:
        """Write all that the database holds, as text."""
        line = [*self._line("pg_dump"), "--inserts", "-d", self.dsn]
        with path.open("wb") as file:
            subprocess.run(line, check=True, stdout=file, cwd=self._home)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none while the database is away."""
        try:
            with contextlib.closing(self._connect("airflow")) as connection, connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        except psycopg2.OperationalError:
            return []

    def _connect(self, database: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="airflow", dbname=database, connect_timeout=5
        )

    def _until_it_answers(self, database: str) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self._connect(database).close()
                return
            except psycopg2.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def _line(self, program: str) -> list[str]:
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        path = str(found[-1]) if found else shutil.which(program)
        if path is None:
            raise SystemExit(f"{program} is missing: scripts/postgresql-redis.sh")
        if os.geteuid() != 0:
            return [path]
        # It refuses to run as root.
        owner = pwd.getpwnam(_user())
        ids = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
        return ["setpriv", *ids, "--", path]


class Redis:
    """A Redis that keeps nothing: what waits in it is lost with it."""

    def __init__(self, home: Path, sessions: Sessions) -> None:
        self._sessions = sessions
        self._home = home
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        settings = {
            "--bind": "127.0.0.1",
            "--port": str(self.port),
            "--save": "",
            "--rdbcompression": "no",
            "--dir": str(self._home),
        }
        words = [word for pair in settings.items() for word in pair]
        self._sessions.start("redis", Command(["redis-server", *words], dict(os.environ), self._home))
        self._until_it_answers()

    def lose(self) -> None:
        """SIGKILL it with all that waits in it, and start another."""
        self._sessions.replace("redis")
        self._until_it_answers()

    def dump(self, path: Path) -> None:
        """Write all that it holds into a file, as it is."""
        self.client().save()
        shutil.copy(self._home / "dump.rdb", path)

    def client(self) -> redis.Redis:
        return redis.Redis(host="127.0.0.1", port=self.port)

    def _until_it_answers(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.client().ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def _user() -> str:
    """Return who PostgreSQL runs as where this runs as root."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"
