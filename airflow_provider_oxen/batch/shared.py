"""What the rows of a batch share, so that they do not each ask, wait and count for themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.gate import Gate
from airflow_provider_oxen.batch.looking import Looking
from airflow_provider_oxen.batch.watching import Watching
from airflow_provider_oxen.jobs.evidence import may_matter
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.operators.asking import all_rows
from airflow_provider_oxen.operators.prepare import Preparing

__all__ = ["Clients", "Shared"]


@dataclass
class Clients:
    """One thread's connections.

    :ivar client: asks what is free, again where that may help.
    :ivar sender: asks once: whether a paid request is sent again, and when, is the gate's to say.
    """

    client: Client
    sender: Client


@dataclass
class Shared:
    """Services for the rows; safe to be used by all their threads.

    :param client: of the main thread, which has found out what the others need not.
    :ivar looking: the hub's lists.
    """

    client: Client
    preparing: Preparing
    gate: Gate
    budget: Budget
    watching: Watching
    _local: threading.local = field(default_factory=threading.local, init=False)
    _made: list[Clients] = field(default_factory=list, init=False)
    _claims: dict[str, str] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self.looking = Looking(self._read)

    @property
    def clients(self) -> Clients:
        """The connections of the thread that asks: a pool for all would be searched for each request."""
        found: Clients | None = getattr(self._local, "clients", None)
        if found is None:
            settings, layout = self.client.settings, self.client.layout
            found = Clients(
                Client(settings, layout=layout), Client(replace(settings, max_retries=0), layout=layout)
            )
            self._local.clients = found
            with self._lock:
                self._made.append(found)
        return found

    def claim(self, generation_id: str, stem: str) -> bool:
        """Note whose a generation is; return whether it is this row's: one job gives one row its image."""
        with self._lock:
            return self._claims.setdefault(generation_id, stem) == stem

    def is_anothers(self, row: Generation, stem: str) -> bool:
        """Whether a row of the hub's lists is known to be another row's job."""
        return self._claims.get(row.generation_id, stem) != stem

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for clients in self._made:
                clients.client.close()
                clients.sender.close()

    def _read(self, namespace: str | None, records: list[Record]) -> Iterable[Generation]:
        bodies: list[dict[str, Any]] = [record.body for record in records]
        for row in all_rows(self.clients.client, namespace):
            if any(may_matter(body, row) for body in bodies):
                yield row
