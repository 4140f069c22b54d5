"""What ``auto`` has found about a host's paths is known to the whole process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.localhub import HubSettings, LocalHub

from .conftest import FREE, PAID

CLASSIC, AI = "/api/images/generate", "/api/ai/images/generate"


@pytest.fixture
def start() -> Iterator[Callable[..., LocalHub]]:
    hubs = []

    def begin(**settings: Any) -> LocalHub:
        hubs.append(LocalHub(HubSettings(default_size=(32, 32), **settings)).start())
        return hubs[-1]

    yield begin
    for hub in hubs:
        hub.close()


async def ask(kind: str, hub: LocalHub, call: Any = PAID, **settings: Any) -> list[str]:
    """Ask once with a client of its own, and return the paths that were tried."""
    known = len(hub.requests())
    fields = Settings(hub.url, hub.key, **settings)
    if kind == "sync":
        with Client(fields) as client:
            client.send(call)
    else:
        async with AsyncClient(fields) as client:
            await client.send(call)
    return [seen["path"] for seen in hub.requests()[known:]]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("other", ["sync", "async"])
@pytest.mark.asyncio
async def test_one_client_spares_the_others_the_search(start, kind, other):
    hub = start(layouts="ai")

    assert await ask(kind, hub) == [CLASSIC, AI]
    assert await ask(other, hub) == [AI]
    assert await ask(other, hub) == [AI]


@pytest.mark.asyncio
async def test_another_host_is_searched_anew(start):
    ai, classic = start(layouts="ai"), start(layouts="classic")

    assert await ask("sync", ai) == [CLASSIC, AI]
    assert await ask("sync", classic) == [CLASSIC]
    assert await ask("sync", ai) == [AI]


@pytest.mark.asyncio
async def test_host_that_changes_its_paths_is_found_again(start):
    hub = start(layouts="ai")
    await ask("sync", hub)

    hub.settings.layouts = "classic"
    assert await ask("async", hub) == [AI, CLASSIC]
    assert await ask("sync", hub) == [CLASSIC]
    hub.settings.layouts = "ai"
    assert await ask("sync", hub) == [CLASSIC, AI]
    assert len(hub.ledger()) == 4


@pytest.mark.asyncio
async def test_layout_that_is_set_is_the_only_one(start):
    hub = start(layouts="both")
    await ask("sync", hub)

    assert await ask("sync", hub, api_layout="ai") == [AI]


@pytest.mark.asyncio
async def test_call_that_has_one_path_tells_nothing_about_the_layout(start):
    from airflow_provider_oxen.api import queue

    hub = start(layouts="ai")
    await ask("sync", hub)
    await ask("sync", hub, queue.list_queue())

    assert await ask("sync", hub, FREE) == ["/api/ai/models/z-image-turbo"]
