"""A hub of its own for each test, and a client that has its key."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.localhub import HubSettings, LocalHub

# Never used, but httpx would read all certificates anew for each client, which takes longer than a test.
TLS = ssl.create_default_context()


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition, and no longer than no machine needs for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def hub() -> Iterator[LocalHub]:
    # Small, so that drawing costs the tests next to nothing.
    with LocalHub(HubSettings(default_size=(32, 32))) as running:
        yield running


@pytest.fixture
def client(hub: LocalHub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {hub.key}"}, verify=TLS) as http:
        yield http


@pytest.fixture
def stranger(hub: LocalHub) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=hub.url, verify=TLS) as http:
        yield http


@pytest.fixture
def generate(client: httpx.Client) -> Callable[..., httpx.Response]:
    """Ask for an image; a parameter that is None is left out."""

    def generate(path: str = "/api/ai/images/generate", **parameters: Any) -> httpx.Response:
        body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
        return client.post(path, json={name: value for name, value in body.items() if value is not None})

    return generate


@pytest.fixture
def order(client: httpx.Client) -> Callable[..., httpx.Response]:
    """Send something to the queue; a parameter that is None is left out."""

    def order(**parameters: Any) -> httpx.Response:
        body = {"model": "z-image-turbo", "prompt": "A red cube", **parameters}
        return client.post(
            "/api/ai/queue", json={name: value for name, value in body.items() if value is not None}
        )

    return order


@pytest.fixture
def enqueue(order: Callable[..., httpx.Response]) -> Callable[..., str]:
    """Put a job into the queue and return its id."""
    return lambda **parameters: str(order(**parameters).json()["generations"][0]["generation_id"])


@pytest.fixture
def look(client: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Return a job's row."""
    return lambda id: dict(client.get(f"/api/ai/queue/{id}").json())


@pytest.fixture
def url(generate: Callable[..., httpx.Response]) -> str:
    """The URL of a generated image."""
    return str(generate().json()["images"][0]["url"])
