"""The tries of one batch, against a hub over a real socket, without Airflow's machinery."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from PIL import Image

from airflow_provider_oxen.api.client import AsyncClient, Client
from airflow_provider_oxen.batch.account import MARK
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.triggers.batches import OxenBatchTrigger

from .scene import KEY, MODEL, MODES, SIGNED, Failed, Outcome, Scene, Struck

__all__ = ["PROMPTS", "Batch", "Life", "all_kept"]

PROMPTS = [f"A red cube, number {number}" for number in range(1, 7)]


@dataclass
class Batch(Scene):
    """One task of six prompts on one hub, with its record and images in a folder."""

    def __post_init__(self) -> None:
        given = self.arguments
        super().__post_init__()
        self.arguments = {
            "prompts": PROMPTS,
            "model": MODEL,
            "storage_path": str(self.out),
            "poll_interval": 0.02,
            "lookup_grace": 0.1,
            "max_in_flight": 3,
            **MODES[self.mode],
            **given,
        }
        self.arguments.setdefault("use_queue", True)
        if self.mode == "synchronous":
            self.arguments["use_queue"] = False

    def _fresh(self) -> Any:
        self.operator = ImageBatchGenerateOperator(task_id="hero", retries=self.retries, **self.arguments)
        return self.operator

    def _resume(self, deferral: TaskDeferred) -> Any:
        kept = json.dumps(deferral.kwargs)
        path, kwargs = deferral.trigger.serialize()
        assert path.rpartition(".")[2] == OxenBatchTrigger.__name__
        for secret in (KEY, SIGNED):
            assert secret not in kept + json.dumps(kwargs)
        self.deferred.append(kwargs["record"])
        self.deferring()
        [event] = asyncio.run(_events(OxenBatchTrigger(**json.loads(json.dumps(kwargs)))))
        event = self.meanwhile(event)
        method, kwargs = deferral.method_name, {**json.loads(kept), "event": event}
        if isinstance(event, Failed):
            method, kwargs = "__fail__", {"error": event.reason, "traceback": None}
        return self._fresh().resume_execution(method, kwargs, self.context)

    def next_run(self, **arguments: Any) -> Outcome:
        """Let another run's task work on the same folder."""
        self.run_id = f"run {int(self.run_id.split()[1]) + 1}"
        self.try_number, self.max_tries, self.clear_number = 0, self.retries, 0
        return self.play(**arguments)

    run_id: str = "run 1"

    @property
    def context(self) -> Any:
        context = super().context
        context["ti"].run_id = self.run_id
        return context

    @property
    def manifest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "manifest.jsonl").read_text().splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.out / "summary.json").read_text()))

    @property
    def asked(self) -> Counter[str]:
        """How often each prompt was paid for."""
        return Counter(entry["request"]["prompt"] for entry in self.hub.ledger())

    @property
    def left(self) -> list[str]:
        """Hidden files: records, and what is unfinished; without the mark, and what tries remember."""
        names = (path.name for path in self.out.glob(".*"))
        return sorted(name for name in names if name != MARK and not name.startswith(".account-"))

    @property
    def files(self) -> list[str]:
        """All files; without what a try remembers of itself beside the output before Airflow 3.3."""
        return [name for name in super().files if not name.startswith(".account-")]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Records of rows."""
        return [json.loads(path.read_text()) for path in self.out.glob(".*.job.json")]

    def posts(self) -> int:
        """How often a paid request reached the hub."""
        return sum(request["method"] == "POST" for request in self.hub.requests())


async def _events(trigger: OxenBatchTrigger) -> list[Any]:
    return [event.payload async for event in trigger.run()]


def all_kept(batch: Batch, played: Outcome, prompts: list[str] = PROMPTS) -> bool:
    """Make sure that each prompt was paid for once, and is kept, and that the manifest tells so."""
    assert played.state == "success", played.error
    assert batch.asked == Counter(prompts)
    lines = batch.manifest
    assert [line["prompt"] for line in lines] == prompts
    assert {line["status"] for line in lines} <= {"generated", "reused"}
    for line in lines:
        content = Path(line["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == line["sha256"]
        with Image.open(line["path"]) as image:
            assert image.size == (line["width"], line["height"])
        sidecar = json.loads(Path(line["path"]).with_suffix(".json").read_text())
        assert (sidecar["sha256"], sidecar["request"]["prompt"]) == (line["sha256"], line["prompt"])
    assert len({line["path"] for line in lines}) == len(lines)
    assert batch.left == []
    assert batch.summary["finished"] is True
    assert played.result["prompts"] == len(prompts)
    assert played.result["generated"] + played.result["reused"] == len(prompts)
    return True


class Life:
    """Ends a try as SIGKILL does: from one moment on, nothing reaches the disk or the hub any more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.dead = False
        self.died = False
        for kind, method in _WAYS_OUT:
            self._guard(kind, method)

    def _guard(self, kind: Any, method: str) -> None:
        real = getattr(kind, method)

        def guarded(this: Any, *arguments: Any, **more: Any) -> Any:
            # Of an async method this comes before it is awaited, and so before anything happens.
            if self.dead:
                raise Struck("killed")
            return real(this, *arguments, **more)

        self.monkeypatch.setattr(kind, method, guarded)

    def ends_at(
        self, kind: Any, method: str, number: int = 1, *, after: bool = False, when: Any = lambda *_: True
    ) -> None:
        """Let it end when something is done for the so-manieth time, right before or right after.

        :param when: tells, of the arguments, which calls count.
        """
        real = getattr(kind, method)
        lock = threading.Lock()
        left = number

        def struck(this: Any, *arguments: Any, **more: Any) -> Any:
            nonlocal left
            with lock:
                left -= bool(when(this, *arguments))
                mine = left == 0 and not self.died and bool(when(this, *arguments))
                if mine:
                    self.died = True
                    self.dead = not after
            result = real(this, *arguments, **more)
            if inspect.isawaitable(result):
                return awaited(result, mine)
            if mine:
                self.dead = True
                raise Struck("killed")
            return result

        async def awaited(result: Any, mine: bool) -> Any:
            answer = await result
            if mine:
                self.dead = True
                raise Struck("killed")
            return answer

        self.monkeypatch.setattr(kind, method, struck)

    def begins_again(self) -> None:
        """Let there be another process."""
        self.dead = False


_WAYS_OUT = (
    (LocalFolder, "put"),
    (LocalFolder, "create"),
    (LocalFolder, "remove"),
    (Client, "_attempt"),
    (AsyncClient, "_attempt"),
)
