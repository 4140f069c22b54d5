"""An image that must not be fetched from where it is, is paid for once, and fetched when that is allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpcore
import pytest

from ..api.resolving import resolve_by
from .batch_scene import all_kept

ASKED = "set the connection's extra allow_private_links to true and clear the task"


@pytest.fixture
def allow(hub, connect, monkeypatch) -> Callable[[bool], None]:
    """Have the hub link to a host of a private network; return what allows that, or not."""
    hub.settings.files_origin = hub.url.replace("127.0.0.1", "files.internal")
    resolve_by(monkeypatch, lambda host: ["10.1.2.3"])
    plain = httpcore.SyncBackend.connect_tcp

    def route(self: Any, host: str, *rest: Any) -> Any:
        return plain(self, host.replace("10.1.2.3", "127.0.0.1"), *rest)

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", route)
    connect_plain = asyncio.BaseEventLoop.create_connection

    def route_on_a_loop(self: Any, factory: Any, host: str, *rest: Any) -> Any:
        return connect_plain(self, factory, host.replace("10.1.2.3", "127.0.0.1"), *rest)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", route_on_a_loop)
    return lambda links: connect(hub.url, allow_http=True, allow_private_links=links)


@pytest.mark.parametrize("mode", ["polled", "synchronous"])
def test_image_that_must_not_be_fetched_is_fetched_after_a_clear(scene, allow):
    allow(False)

    played = scene.play()

    assert played.state == "failed"
    assert "leads to a private address (files.internal)" in played.error
    assert ASKED in played.error
    assert scene.try_number == 1

    allow(True)
    again = scene.clear()

    assert again.state == "success"
    assert scene.sent == scene.paid == 1


def test_images_of_a_batch_are_fetched_after_a_clear(cast_batch, allow):
    batch = cast_batch(prompts=["A red cube"])
    allow(False)

    played = batch.play()

    assert played.state == "failed"
    assert ASKED in f"{played.error} {batch.logged}"

    allow(True)
    assert all_kept(batch, batch.clear(), ["A red cube"])
