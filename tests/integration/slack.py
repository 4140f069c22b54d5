"""Slack's API on this machine, as far as posting a file needs it, and a stand-in for its provider's hook.

Slack takes a file in three steps: ask for an address, send the bytes there, say where to show the file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from .rest import Call, Reply, RestStore

TOKEN = "xoxb-a-bot"


@dataclass
class Slack(RestStore):
    """Answers as Slack does, also to what it refuses: with 200.

    :ivar posted: the posts, each with its files.
    """

    posted: list[dict[str, Any]] = field(default_factory=list)
    _files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, call: Call) -> Reply:
        step = call.path.rpartition("/")[2]
        if call.path.startswith("/upload/"):
            self._files[step]["content"] = call.body
            return Reply(200, b"OK")
        asked = dict(parse_qsl(call.body.decode())) | call.query
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return _told(ok=False, error="not_authed")
        if step == "files.getUploadURLExternal":
            id = f"F{len(self._files)}"
            self._files[id] = {"filename": asked["filename"], "length": int(asked["length"])}
            return _told(ok=True, upload_url=f"{self.url}/upload/{id}", file_id=id)
        assert step == "files.completeUploadExternal"
        files = [self._files[told["id"]] | {"title": told["title"]} for told in json.loads(asked["files"])]
        self.posted.append({**asked, "files": files})
        return _told(ok=True, files=[])


def _told(**facts: Any) -> Reply:
    return Reply(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})


class StandIn(BaseHook):
    """What the recipe uses of ``SlackHook``, with the arguments and the connection of its provider 9.11.1."""

    def __init__(self, *, slack_conn_id: str = "slack_api_default") -> None:
        super().__init__()
        self.slack_conn_id = slack_conn_id

    def send_file_v2(
        self,
        *,
        channel_id: str | None = None,
        file_uploads: dict[str, Any],
        initial_comment: str | None = None,
        thread_ts: str | None = None,
    ) -> None:
        """Post a file."""
        connection = self.get_connection(self.slack_conn_id)
        content, name = file_uploads["file"], file_uploads["filename"]
        with httpx.Client(
            base_url=connection.extra_dejson["base_url"],
            headers={"Authorization": f"Bearer {connection.password}"},
        ) as client:
            place = client.post(
                "files.getUploadURLExternal", data={"filename": name, "length": len(content)}
            ).json()
            httpx.post(place["upload_url"], content=content).raise_for_status()
            files = json.dumps([{"id": place["file_id"], "title": file_uploads["title"]}])
            said = {"files": files, "channel_id": channel_id, "initial_comment": initial_comment}
            assert client.post("files.completeUploadExternal", data=said).json()["ok"]


@contextmanager
def running_slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slack]:
    """Run Slack, and set the connection to it. The hook is the provider's own where that is installed."""
    if find_spec("slack_sdk") is None:
        for name in ("airflow.providers.slack", "airflow.providers.slack.hooks"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        hooks: Any = ModuleType("airflow.providers.slack.hooks.slack")
        hooks.SlackHook = StandIn
        monkeypatch.setitem(sys.modules, hooks.__name__, hooks)
    slack = Slack()
    with slack.running():
        fields = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": f"{slack.url}/api/"}}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_API_DEFAULT", json.dumps(fields))
        yield slack
