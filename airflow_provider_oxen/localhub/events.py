"""GET /api/events: what has ended, told to all who listen; what nobody heard is not told again."""

from __future__ import annotations

import asyncio
import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from airflow_provider_oxen.localhub.answers import transport_of
from airflow_provider_oxen.localhub.job import Job
from airflow_provider_oxen.localhub.rows import signer
from airflow_provider_oxen.localhub.state import State

__all__ = ["listen", "message"]

_TICK = 0.01
"""Seconds between two looks at what has ended: jobs get on only when somebody looks."""


async def listen(request: Request) -> Response:
    """Open a stream of events, from now on."""
    state: State = request.app.state.hub
    state.need_key(request)
    return _Stream(state, request)


def message(job: Job, url: str | None) -> bytes:
    """Return the event that tells a job's end; its words are other ones than a row's.

    :param url: of its result, if there is one.
    """
    told = {"generation_id": job.id, "status": job.progress.status, "media_type": "image"}
    if job.progress.status == "succeeded":
        told["model"] = job.body["model"]
        if url is not None:
            told["url"] = url
    else:
        told["error"] = job.progress.error_message or ""
    return f"event: media_generation_completed\ndata: {json.dumps(told)}\n\n".encode()


class _Stream(Response):
    media_type = "text/event-stream"

    def __init__(self, state: State, request: Request) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        # A stream has no length.
        self.raw_headers = [item for item in self.raw_headers if item[0] != b"content-length"]
        self.state = state
        self.sign = signer(state, request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state, clock = self.state, asyncio.get_running_loop().time
        # Before the answer begins: whoever has seen that misses nothing from then on.
        heard = state.books.number_ended()
        with state.streams.open() as still_wanted:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            gone, quiet_since = asyncio.create_task(_until_gone(receive)), clock()
            while not gone.done() and still_wanted() and not state.closing.is_set():
                await asyncio.wait([gone], timeout=_TICK)
                ended = state.books.ended(heard)
                heard += len(ended)
                pieces = [self._told(job) for job in ended if job.progress.status != "cancelled"]
                if clock() - quiet_since >= state.settings.keep_alive:
                    pieces.append(b": keep-alive\n\n")
                if pieces:
                    quiet_since = clock()
                    await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
            # In the middle, as a connection that is lost.
            transport_of(scope).abort()
            await gone

    def _told(self, job: Job) -> bytes:
        return message(job, self.sign(job) if job.progress.has_url else None)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
