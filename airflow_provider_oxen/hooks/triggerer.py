"""Is a triggerer running? Without one, a deferred task waits for ever, and nothing else says why."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow.providers.common.compat.sdk import conf

__all__ = ["Triggerer", "find_triggerer", "warn_of_no_triggerer"]

_log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds for the answer of Airflow's own API server. It must not hold up the deferral for longer."""

_LONGEST = 64 * 1024
"""Bytes of it that are read; it has some four hundred."""


class Triggerer(NamedTuple):
    """What Airflow knows of its triggerers.

    :ivar runs: whether one has told lately that it is alive.
    :ivar last_seen: when one has last told, as Airflow writes it; None for never.
    """

    runs: bool
    last_seen: str | None = None


def find_triggerer(ti: Any) -> Triggerer | None:
    """Return what Airflow says of its triggerers, or None where it cannot be asked: then nothing is known.

    A task of Airflow 2 has the database. One of Airflow 3 has not, and the execution API does not tell; but
    the server of that API has a page for monitoring, which needs no login, unless it serves tasks alone.

    :param ti: the task instance.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    try:
        if AIRFLOW_V_3_0_PLUS:
            return _read(_health_page(_health_url()))
        # dag.test() runs triggers by itself, and its tasks have no job.
        return _read(_health_of_database()) if getattr(ti, "job_id", None) else None
    except Exception as error:
        _log.debug("Airflow could not say whether a triggerer is running: %s", type(error).__name__)
        return None


def warn_of_no_triggerer(ti: Any, log: Any) -> None:
    """Warn where a task is about to be deferred and Airflow says that no triggerer is running."""
    triggerer = find_triggerer(ti)
    if triggerer is None or triggerer.runs:
        return
    since = f"the last one was seen at {triggerer.last_seen}" if triggerer.last_seen else "none was ever seen"
    log.warning(
        "No triggerer is running (%s). This task stays deferred until one starts: run airflow triggerer.",
        since,
    )


def _read(health: Any) -> Triggerer | None:
    told = health.get("triggerer") if isinstance(health, Mapping) else None
    if not isinstance(told, Mapping) or health["metadatabase"]["status"] != "healthy":
        return None
    status, seen = told["status"], told["latest_triggerer_heartbeat"]
    if status not in ("healthy", "unhealthy", None):
        return None
    return Triggerer(status == "healthy", seen[:40] if isinstance(seen, str) else None)


def _health_of_database() -> Any:
    from airflow.api.common.airflow_health import get_airflow_health

    return get_airflow_health()


def _health_url() -> str:
    """Return the address of the page, on the server that the worker asks for everything else."""
    server = conf.get("core", "execution_api_server_url", fallback=None)
    if not server:
        base = conf.get("api", "base_url", fallback=None) or "/"
        server = f"http://localhost:8080{base}" if base.startswith("/") else base
    return f"{server.rstrip('/').removesuffix('/execution')}/api/v2/monitor/health"


def _health_page(url: str) -> Any:
    from airflow_provider_oxen.api.blocking import Threads

    # In a thread: to resolve a name, or to read headers that arrive byte by byte, may take longer than any
    # timeout of HTTP.
    with Threads(1, "oxen-triggerer") as threads:
        return threads.submit(_fetch, url).result(_PATIENCE)


def _fetch(url: str) -> Any:
    import httpx

    from airflow_provider_oxen.api.http_logs import suppress_http_logs

    # Without TLS there is nothing to verify, and reading the certificates takes longer than the answer.
    verify = _trusted() if url.startswith("https://") else False
    headers = {"Accept-Encoding": "identity"}
    content = b""
    # Through a proxy of the environment, as Airflow's own client. The address may hold a password.
    with (
        suppress_http_logs(),
        httpx.stream("GET", url, headers=headers, timeout=_PATIENCE, verify=verify) as answer,
    ):
        if answer.status_code != 200:
            return None
        for part in answer.iter_raw():
            content += part
            if len(content) > _LONGEST:
                return None
    return json.loads(content)


def _trusted() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and those that Airflow's client is told of."""
    context = ssl.create_default_context()
    for option in ("ssl_ca_file", "ssl_cert"):
        if path := conf.get("api", option, fallback=None):
            context.load_verify_locations(path)
    return context
