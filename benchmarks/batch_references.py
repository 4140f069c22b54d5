"""A thousand prompts as people write it themselves: an asyncio loop, a thread pool, one after the other.

Each does for a prompt what has to be done: POST generate, GET the link, decode the whole image, sha256, write
the file and a JSON beside it. None of them retries, resumes, limits, or remembers what was paid.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import requests
from PIL import Image

__all__ = ["WAYS"]

IN_FLIGHT = 64
PATH = "/api/images/generate"


def _body(prompt: str) -> dict[str, Any]:
    return {"model": "z-image-turbo", "prompt": prompt, "response_format": "url"}


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _keep(folder: Path, number: int, body: dict[str, Any], content: bytes, *, syncs: bool = False) -> None:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        width, height, kind = *image.size, str(image.format).lower()
    _write(folder / f"{number:05}.{kind}", content, syncs)
    facts = {
        "request": body,
        "width": width,
        "height": height,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    _write(folder / f"{number:05}.json", json.dumps(facts, indent=2).encode(), syncs)


def _write(path: Path, content: bytes, syncs: bool) -> None:
    with path.open("wb") as file:
        file.write(content)
        if syncs:
            file.flush()
            os.fsync(file.fileno())


def bare_asyncio(host: str, key: str, prompts: Sequence[str], folder: Path) -> None:
    """One ``httpx.AsyncClient`` that pays on fresh connections, one that fetches, and 64 tasks."""
    asyncio.run(_bare_asyncio(host, key, prompts, folder))


def syncing_asyncio(host: str, key: str, prompts: Sequence[str], folder: Path) -> None:
    """The same, with files that outlive a power cut, written by threads, as the operator's are."""
    asyncio.run(_bare_asyncio(host, key, prompts, folder, syncs=True))


async def _bare_asyncio(
    host: str, key: str, prompts: Sequence[str], folder: Path, *, syncs: bool = False
) -> None:
    fresh = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=0)
    kept = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with (
        httpx.AsyncClient(base_url=host, headers=_bearer(key), limits=fresh, timeout=300) as payer,
        httpx.AsyncClient(limits=kept, timeout=300) as client,
    ):
        waiting = iter(enumerate(prompts))

        async def work() -> None:
            for number, prompt in waiting:
                body = _body(prompt)
                answer = await payer.post(PATH, json=body)
                answer.raise_for_status()
                image = await client.get(answer.json()["images"][0]["url"])
                image.raise_for_status()
                if syncs:
                    await asyncio.to_thread(_keep, folder, number, body, image.content, syncs=True)
                else:
                    _keep(folder, number, body, image.content)

        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(work())


def thread_pool(host: str, key: str, prompts: Sequence[str], folder: Path) -> None:
    """``ThreadPoolExecutor(64)`` and a ``requests.Session`` for each thread to fetch with."""
    local = threading.local()

    def work(item: tuple[int, str]) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        session: requests.Session = local.session
        number, prompt = item
        body = _body(prompt)
        # Paid for on a connection of its own, as the others do.
        answer = requests.post(f"{host}{PATH}", json=body, headers=_bearer(key), timeout=300)
        answer.raise_for_status()
        image = session.get(answer.json()["images"][0]["url"], timeout=300)
        image.raise_for_status()
        _keep(folder, number, body, image.content)

    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        for _ in pool.map(work, enumerate(prompts)):
            pass


def one_by_one(host: str, key: str, prompts: Sequence[str], folder: Path) -> None:
    """One ``requests.post`` after the other, each on a connection of its own; the bytes go to a file."""
    for number, prompt in enumerate(prompts):
        answer = requests.post(f"{host}{PATH}", json=_body(prompt), headers=_bearer(key), timeout=300)
        answer.raise_for_status()
        image = requests.get(answer.json()["images"][0]["url"], timeout=300)
        image.raise_for_status()
        (folder / f"{number:05}.png").write_bytes(image.content)


WAYS: dict[str, Callable[[str, str, Sequence[str], Path], None]] = {
    way.__name__: way for way in (bare_asyncio, syncing_asyncio, thread_pool, one_by_one)
}
