"""The tries of one task, against a hub over a real socket, without Airflow's machinery.

:class:`Scene` does what Airflow does around an operator: it makes a fresh one for every try, defers it,
runs its trigger, resumes it, tries again, and clears. What the task remembers lives where its *home* says.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_oxen.jobs import filestore, stores
from airflow_provider_oxen.jobs.stores import KEY as RECORD
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.localhub import LocalHub
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.tasks.effects import WorkerEffects
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

try:
    from airflow.sdk.execution_time import context as airflow_context

    NEVER_EXPIRE: Any = airflow_context.NEVER_EXPIRE
except (ImportError, AttributeError):
    NEVER_EXPIRE = None

KEY = "key-that-must-not-leak"
SIGNED = "signature="
MODEL = "z-image-turbo"
SEEDLESS = "gpt-image-2"
TIMED = "local-user-product-shots"
"""A model that is billed by time: nobody knows before what an image costs."""

STORE = ["store"] if NEVER_EXPIRE else []
"""Airflow has a task state store from 3.3 on."""

MODES: dict[str, dict[str, Any]] = {
    "polled": {"use_queue": True, "deferrable": False},
    "deferred": {"deferrable": True},
    "synchronous": {"deferrable": False},
}

all_homes = pytest.mark.parametrize("home", [*STORE, "file", "none"])
with_record = pytest.mark.parametrize("home", [*STORE, "file"])
with_store = pytest.mark.parametrize("home", STORE)
without_record = pytest.mark.parametrize("home", ["none"])
all_modes = pytest.mark.parametrize("mode", list(MODES))
by_queue = pytest.mark.parametrize("mode", ["polled", "deferred"])
by_call = pytest.mark.parametrize("mode", ["synchronous"])
# Each way of waiting and each home at least once: where the code under one does not ask for the other.
queue_and_record = pytest.mark.parametrize(
    ("mode", "home"), [("polled", "file"), *(("deferred", home) for home in STORE or ["file"])]
)
queue_and_homes = pytest.mark.parametrize(
    ("mode", "home"), [("polled", "none"), *(("deferred", home) for home in [*STORE, "file"])]
)


class Struck(BaseException):
    """What Airflow raises in the middle of the work, as at ``execution_timeout``; or a death."""


class Store:
    """Airflow's task state store of one task instance, in memory.

    :ivar failing: called before each use with what is done and, for a write, the record; it may raise.
    :ivar told: every record that was written.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.told: list[dict[str, Any]] = []
        self.failing: Callable[[str, Any], None] = lambda done, record: None

    def get(self, key: str, default: Any = None) -> Any:
        self.failing("get", None)
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        assert retention is NEVER_EXPIRE
        self.failing("set", value)
        self.values[key] = json.dumps(value)
        self.told.append(value)

    def delete(self, key: str) -> None:
        self.failing("delete", None)
        self.values.pop(key, None)


class Failed(NamedTuple):
    """What Airflow resumes a task with whose trigger came to no end, in its words."""

    reason: str


class Outcome(NamedTuple):
    """What became of a task.

    :ivar errors: of its tries, in their order.
    """

    state: str
    result: Any
    errors: list[BaseException]

    @property
    def error(self) -> str:
        """The last try's error, as the on-call reader sees it."""
        if not self.errors:
            return ""
        error = self.errors[-1]
        final = "AirflowFailException, " if isinstance(error, AirflowFailException) else ""
        return f"{final}{type(error).__name__}: {error}"

    @property
    def image(self) -> dict[str, Any]:
        [image] = self.result["images"]
        return dict(image)


class Logged:
    """All that was logged: Airflow 3 writes what operators log to stdout, older ones to ``logging``."""

    def __init__(self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
        self._capfd = capfd
        self._caplog = caplog
        self._printed = ""

    def __str__(self) -> str:
        self._printed += "".join(self._capfd.readouterr())
        return self._printed + self._caplog.text

    def __contains__(self, text: str) -> bool:
        return text in str(self)


@dataclass
class Scene:
    """One task instance on one hub.

    :ivar out: the folder of its files, where it has any.
    :ivar arguments: of the operator, changed at will between tries.
    :ivar xcoms: what was pushed, in order.
    :ivar meanwhile: called with the trigger's event; returns what the task is resumed with.
    :ivar clear_number: how often the Dag run was cleared, whichever of its tasks.
    :ivar deferring: called when the task has deferred, before the trigger runs.
    :ivar between: called after a try that is tried again.
    :ivar push: stands in for XCom.
    :ivar operator: of the present try.
    """

    hub: LocalHub
    home: str
    mode: str
    out: Path
    logged: Logged
    map_index: int = -1
    retries: int = 2
    arguments: dict[str, Any] = field(default_factory=dict)
    store: Store | None = None
    try_number: int = 0
    clear_number: int = 0
    xcoms: list[tuple[str, Any]] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    meanwhile: Callable[[Any], Any] = lambda event: event
    between: Callable[[], None] = lambda: None
    deferring: Callable[[], None] = lambda: None
    push: Callable[[str, Any], None] = lambda key, value: None
    operator: Any = None

    def __post_init__(self) -> None:
        self.max_tries = self.retries
        self.began = datetime.now(UTC)
        self.arguments = {
            "prompt": "A red cube",
            "model": MODEL,
            "poll_interval": 0.02,
            "lookup_grace": 0.1,
            **MODES[self.mode],
            **({"storage_path": f"{self.out}/cube"} if self.home == "file" else {}),
            **self.arguments,
        }
        if self.home == "store":
            self.store = Store()
        if self.mode == "deferred":
            # No worker sees the end: all that is deferred has ended when the trigger looks.
            self.hub.settings.latency = 600
            self.deferring = self.later

    def later(self) -> None:
        """Let all that the hub works on come to its end."""
        self.hub.settings.clock_ahead += 601
        # What a test is about is not how long its links last.
        self.hub.settings.sign_anew = True

    def slow(self) -> None:
        """Let what is submitted from now on take longer than anybody waits."""
        self.hub.settings.latency = 600
        self.deferring = lambda: None

    def quick(self) -> None:
        """Let all come to its end at once."""
        self.later()
        self.hub.settings.latency = 0

    @property
    def identity(self) -> str:
        return Identity("scene", "run 1", "hero", self.map_index).key

    @property
    def context(self) -> Any:
        ti = SimpleNamespace(
            dag_id="scene",
            run_id="run 1",
            task_id="hero",
            map_index=self.map_index,
            try_number=self.try_number,
            max_tries=self.max_tries,
            task=self.operator,
            xcom_push=self._push,
            xcom_pull=self._pull,
        )
        context = {
            "ti": ti,
            "dag_run": SimpleNamespace(start_date=self.began, clear_number=self.clear_number),
        }
        return context | ({"task_state_store": self.store} if self.store else {})

    def _push(self, key: str, value: Any) -> None:
        self.push(key, value)
        self.xcoms.append((key, value))

    def _pull(self, key: str, task_ids: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == ("hero", self.map_index)
        return next((value for name, value in reversed(self.xcoms) if name == key), None)

    def play(self, **arguments: Any) -> Outcome:
        """Make tries until one succeeds or none is left, as Airflow does."""
        self.arguments |= arguments
        errors: list[BaseException] = []
        while True:
            tried = self.once()
            errors += tried.errors
            if tried.state != "up_for_retry":
                return Outcome(tried.state, tried.result, errors)
            self.between()

    def once(self, **arguments: Any) -> Outcome:
        """Make one try; what is left to be tried again is ``up_for_retry``."""
        self.arguments |= arguments
        try:
            return Outcome("success", self.attempt(), [])
        except AirflowFailException as error:
            return Outcome("failed", None, [error])
        except (Exception, Struck) as error:
            return Outcome("failed" if self.try_number > self.max_tries else "up_for_retry", None, [error])

    def attempt(self) -> Any:
        """Make one try."""
        self.try_number += 1
        try:
            go_on = self._execute
            while True:
                try:
                    return json.loads(json.dumps(go_on()))
                except TaskDeferred as deferral:
                    go_on = functools.partial(self._resume, deferral)
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self._inspect()

    def clear(self, **arguments: Any) -> Outcome:
        """Clear the task, and let it be tried again."""
        # As Airflow reckons: what is left of the old tries is lost, and all retries are given anew.
        self.max_tries = self.try_number + self.retries
        self.began = datetime.now(UTC)
        self.clear_number += 1
        return self.play(**arguments)

    def clear_without_dag(self, **arguments: Any) -> Outcome:
        """Clear the task while Airflow does not find its Dag: ``max_tries`` stays as it is."""
        assert self.try_number <= self.max_tries
        self.began = datetime.now(UTC)
        self.clear_number += 1
        return self.play(**arguments)

    def _fresh(self) -> Any:
        self.operator = ImageGenerateOperator(task_id="hero", retries=self.retries, **self.arguments)
        return self.operator

    def _execute(self) -> Any:
        operator = self._fresh()
        # Airflow guards it against being called by others.
        return type(operator).execute.__wrapped__(operator, self.context)

    def _resume(self, deferral: TaskDeferred) -> Any:
        kept = json.dumps(deferral.kwargs)
        assert KEY not in kept
        assert SIGNED not in kept
        path, kwargs = deferral.trigger.serialize()
        assert path.rpartition(".")[2] == OxenGenerationTrigger.__name__
        self.deferred.append(kwargs["generation_id"])
        self.deferring()
        [event] = asyncio.run(_events(OxenGenerationTrigger(**json.loads(json.dumps(kwargs)))))
        event = self.meanwhile(event)
        method, kwargs = deferral.method_name, {**json.loads(kept), "event": event}
        if isinstance(event, Failed):
            method, kwargs = "__fail__", {"error": event.reason, "traceback": None}
        return self._fresh().resume_execution(method, kwargs, self.context)

    @property
    def record(self) -> dict[str, Any] | None:
        """What the task remembers of its job."""
        if self.store:
            return self.store.get(RECORD)
        found = [json.loads(path.read_text()) for path in self.out.glob(".*.job.json")]
        # An intent has a file of its own, with its number.
        return max(found, key=lambda record: record.get("number", 0), default=None)

    @property
    def job(self) -> dict[str, Any] | None:
        """The record of what may have been sent; None where it says that nothing was."""
        return self.record if self.record and self.record["phase"] != "not_sent" else None

    def remember(self, record: Any) -> None:
        """Put something else in the place of the record."""
        if self.store:
            self.store.values[RECORD] = json.dumps(record)
        else:
            self.out.mkdir(exist_ok=True)
            name = f".cube.{self.identity[:16]}.job.json"
            (self.out / name).write_text(record if isinstance(record, str) else json.dumps(record))

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.out.iterdir()) if self.out.exists() else []

    @property
    def sent(self) -> int:
        """How many requests went out that cost money."""
        paid = ("/queue", "/images/generate")
        return sum(seen["method"] == "POST" and seen["path"].endswith(paid) for seen in self.hub.requests())

    @property
    def paid(self) -> int:
        return len(self.hub.ledger())

    def _inspect(self) -> None:
        """See to it that nothing leaks: no key anywhere, and no signed link."""
        for path in self.out.glob("[!.]*.json"):
            if path.is_dir():
                continue
            assert SIGNED not in path.read_text()
            assert KEY not in path.read_text()
        for text in [record if isinstance(record, str) else json.dumps(record) for record in self.told]:
            assert KEY not in text
            assert SIGNED not in text

    @property
    def told(self) -> list[Any]:
        """Every record that was written to the store, or the one that lies in its file."""
        if self.store:
            return self.store.told
        return [path.read_text() for path in self.out.glob(".*.job.json")]


async def _events(trigger: Any) -> list[Any]:
    return [json.loads(json.dumps(event.payload)) async for event in trigger.run()]


class Break:
    """Makes the record's home fail.

    :ivar fails: told ``read``, ``write`` or ``remove`` and, of a write, the record; whether it fails.
    """

    def __init__(self) -> None:
        self.fails: Callable[[str, Any], bool] = lambda done, record: False

    def __call__(self, done: str, record: Any = None) -> None:
        if self.fails(done, record):
            raise OSError(28, f"No space left on device: https://store.example/x?{SIGNED}abc")


SMALL = {"model": SEEDLESS, "image_size": {"width": 16, "height": 16}}
"""A request to a model that takes no seed."""


def paid_once(scene: Scene, played: Outcome, *, sent: int = 1, jobs: int = 1) -> bool:
    """Make sure that the task has its image, and that the hub has billed one."""
    assert played.state == "success", played.error
    assert scene.paid == 1
    assert scene.sent == sent
    assert len(scene.hub.jobs()) == (0 if scene.mode == "synchronous" else jobs)
    if scene.home == "file":
        assert [name.rpartition(".")[0] for name in scene.files] == ["cube", "cube"]
    return True


def stopped(scene: Scene, played: Outcome, *, sent: int) -> str:
    """Make sure that the task has stopped without another try, and return what it says."""
    assert played.state == "failed"
    assert "AirflowFailException" in played.error
    assert "Not tried again." in played.error
    assert scene.sent == sent
    return played.error


def left_running(scene: Scene, **arguments: Any) -> str:
    """Let the first try give up waiting for a job that goes on, and return the job's id."""
    scene.slow()
    tried = scene.once(timeout=0.05, **arguments)
    assert "OxenGenerationTimeout" in tried.error
    scene.hub.settings.latency = 0
    scene.arguments["timeout"] = 60
    return str(scene.hub.jobs()[-1]["generation_id"])


def dies(monkeypatch: pytest.MonkeyPatch, method: str, *, after: bool = False) -> None:
    """Let the try die the next time that it does something, before or after it is done."""
    real = getattr(WorkerEffects, method)

    async def struck(self: WorkerEffects, *arguments: Any) -> Any:
        monkeypatch.setattr(WorkerEffects, method, real)
        if after:
            await real(self, *arguments)
        raise Struck("AirflowTaskTimeout")

    monkeypatch.setattr(WorkerEffects, method, struck)


def lost_after_keeping(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next result be lost after all was kept."""
    attempt: Callable[[], Any] = scene.attempt

    def lost() -> Any:
        attempt()
        scene.__dict__.pop("attempt")
        raise RuntimeError("the XCom backend is away")

    scene.__dict__["attempt"] = lost


def record_store(scene: Scene) -> Any:
    return stores.StateRecordStore if scene.store else filestore.FileRecordStore
