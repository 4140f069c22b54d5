"""CPU time of this process for one generate call, beside a bare httpx loop that does the same."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator

import httpx
from surroundings import local_hub

CALLS = 200
ROUNDS = 7
BODY = {"model": "z-image-turbo", "prompt": "A red cube", "response_format": "url", "seed": 42}


def figures() -> Iterator[tuple[str, str, str, str]]:
    from airflow_provider_oxen.api import calls
    from airflow_provider_oxen.api.client import Client
    from airflow_provider_oxen.api.models import GenerateRequest
    from airflow_provider_oxen.api.settings import Settings

    with local_hub() as connection:
        fields = json.loads(connection["AIRFLOW_CONN_OXEN_DEFAULT"])
        headers = {"Authorization": f"Bearer {fields['password']}"}
        # Whoever pays takes a fresh connection: of a kept one nobody can tell whether it still stands.
        fresh = httpx.Limits(max_keepalive_connections=0)
        with (
            Client(Settings(base_url=fields["host"], api_key=fields["password"])) as client,
            httpx.Client(base_url=fields["host"], headers=headers, timeout=300, limits=fresh) as bare,
        ):

            def ours() -> str | None:
                return client.send(calls.generate(GenerateRequest(**BODY))).images[0].url

            def reference() -> str:
                response = bare.post("/api/images/generate", json=BODY)
                response.raise_for_status()
                return str(response.json()["images"][0]["url"])

            pairs = [(_cpu(ours), _cpu(reference)) for _ in range(ROUNDS)]
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    mine, theirs = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    yield (
        "client work per generate call, CPU, over a bare httpx loop",
        f"{ratio:.2f}",
        "times",
        f"limit 1.2; medians {mine:.2f} ms beside {theirs:.2f} ms",
    )


def _cpu(call: Callable[[], object]) -> float:
    """Return the seconds of CPU that a call takes, averaged over :data:`CALLS`."""
    call()
    start = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - start) / CALLS
