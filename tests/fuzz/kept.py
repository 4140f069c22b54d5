"""What others may have written where we read: records, sidecars, a batch's files, XComs, events, kwargs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from airflow_provider_oxen.api.errors import OxenConnectionError, OxenError
from airflow_provider_oxen.batch.account import MARK, AccountStore
from airflow_provider_oxen.batch.deferral import read_deferral
from airflow_provider_oxen.batch.plan import ids_of
from airflow_provider_oxen.batch.record import BatchRecord
from airflow_provider_oxen.batch.report import MANIFEST, SUMMARY
from airflow_provider_oxen.batch.rowstore import DONE, NEW, OPEN, WAITING, RowStore
from airflow_provider_oxen.images import sidecar
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.filestore import FileRecordStore, file_name
from airflow_provider_oxen.jobs.stores import BothRecordStores, StateRecordStore
from airflow_provider_oxen.jobs.task import Identity
from airflow_provider_oxen.plugins.rows import Row
from airflow_provider_oxen.plugins.tiles import tiles_of
from airflow_provider_oxen.tasks.deferral import restore
from airflow_provider_oxen.tasks.output import Output
from airflow_provider_oxen.triggers import batch_record
from airflow_provider_oxen.triggers.batches import OxenBatchTrigger
from airflow_provider_oxen.triggers.events import read_batch_event, read_event, read_model_event
from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger
from airflow_provider_oxen.triggers.models import OxenModelTrigger
from airflow_provider_oxen.waiting.cursor import Cursor
from tests.fuzz.mutate import KEY, LINK, as_json, bent

__all__ = ["batch", "close", "event", "kwargs", "record", "side", "xcom"]

IDENTITY = Identity("dag", "run", "task", -1)
SPENT = "f" * 64
BODY = {"model": "z-image-turbo", "prompt": "A red cube", "seed": 42, "response_format": "url"}
_COMMON = {
    "format": "airflow-provider-oxen/job/1",
    "nonce": "n" * 32,
    "identity": IDENTITY.key,
    "time": 1780000000.5,
    "endpoint": "queue",
    "body": BODY,
    "origin": "https://hub.example",
    "fingerprint": SPENT,
    "number": 1,
    "clearing": 2,
    "clear_number": 0,
    "try_number": 1,
    "unique": True,
    "counter": 0,
    "price": 0.01,
}
RECORDS = (
    {**_COMMON, "phase": "not_sent", "submissions": 0},
    {**_COMMON, "phase": "intent"},
    {**_COMMON, "phase": "submitted", "generation_id": "a1", "submitted_at": 1780000001.0, "past": ["a0"]},
    {**_COMMON, "phase": "cancelling", "generation_id": "a1", "found": True},
    {**_COMMON, "phase": "answered", "endpoint": "generate", "items": [{"url": LINK}, {"b64_json": True}]},
    {
        **_COMMON,
        "phase": "kept",
        "files": ["hero.png"],
        "created": 1780000009,
        "before": 0.02,
        "counted": 0.01,
    },
    {
        **_COMMON,
        "phase": "ended",
        "status": "failed",
        "reason": "flagged",
        "final": True,
        "unfit": "OxenBadImage",
    },
)
SIDECAR = {
    "format": sidecar.FORMAT,
    "model": "z-image-turbo",
    "created": 1780000009,
    "seed": 42,
    "generation_id": "a1",
    "cost": 0.01,
    "fingerprint": SPENT,
    "job": "n" * 16,
    "request": BODY,
    **IDENTITY._asdict(),
    "identity": IDENTITY.key,
    "try_number": 1,
    "clearing": 2,
    "clear_number": 0,
    "number": 1,
    "counter": 0,
    "made_by": "airflow-provider-oxen 1",
    "file": "hero.png",
    "index": 1,
    "media_type": "image/png",
    "width": 16,
    "height": 12,
    "bytes": 5,
    "sha256": hashlib.sha256(b"image").hexdigest(),
    "kept_at": "2026-09-01T12:00:00+00:00",
    "stems": ["hero"],
    "images": 1,
    "preview": "data:image/webp;base64,UklGRg==",
    "revised_prompt": "A cube",
}
UNFINISHED = {**SIDECAR, "replacing": True, "files": ["hero.png"]}
ACCOUNT = {
    "format": "airflow-provider-oxen/batch-account/1",
    "identity": IDENTITY.key,
    "folder": "file:///tmp/b/",
    "mark": "m",
    "unsure": False,
    "series": "s.2",
    "clear_number": 0,
    "over": False,
    "spent": 0.2,
    "held": 0.2,
    "spent_unknown": 0,
}
SUMMED = {
    **IDENTITY._asdict(),
    "clearing": "s.2",
    "clear_number": 0,
    "finished": True,
    "failed": 0,
    "unknown": 0,
}
HEADER = {
    "format": batch_record.FORMAT,
    "identity": IDENTITY.key,
    "rows": 2,
    "ending": {"stopped": None, "too_many": False, "lost": 0, "retry_after": 5.0, "final": False},
}
LINES = (
    {
        "line": 2,
        "id": "hero",
        "stem": "hero",
        "fingerprint": SPENT,
        "state": WAITING,
        "request": BODY,
        "generation": "a1",
        "namespace": None,
        "seed": 42,
        "price": 0.01,
        "submitted_at": 1780000001.0,
    },
    {
        "line": 3,
        "id": "cube",
        "stem": "cube",
        "fingerprint": SPENT,
        "state": DONE,
        "request": BODY,
        "entry": {"id": "cube", "line": 3, "status": "generated", "cost": 0.01},
        "preview": "data:image/webp;base64,UA==",
    },
)
PUSHED = {
    "total": 2,
    "images": [
        {
            "id": "hero",
            "prompt": "A red cube",
            "model": "m",
            "seed": 42,
            "cost": 0.01,
            "status": "generated",
            "width": 1024,
            "height": 768,
            "bytes": 1_200_000,
            "path": "s3://aws@bucket/hero.png",
            "error": None,
            "request": {"image_size": {"width": 8}, "guidance": 3.5},
            "preview": "data:image/webp;base64,UklGRg==",
        }
    ],
}
FACTS = {
    "total": 3,
    "generated": 1,
    "failed": 1,
    "unknown": 1,
    "cost": 0.01,
    "cost_unknown": 1,
    "spent": "yes",
    "error": "no",
    "index": "s3://bucket/index.html",
    "failures": [{"line": 2, "id": "x", "status": "failed", "prompt": "A cube", "error": "no", "cost": 0.01}],
}
EVENTS = (
    {
        "event": "airflow-provider-oxen/generation/1",
        "generation_id": "a1",
        "status": "failed",
        "message": "no",
        "retryable": True,
    },
    {"event": "airflow-provider-oxen/model/1", "model": "m", "status": "ready", "message": ""},
    {
        "event": "airflow-provider-oxen/batch/1",
        "record": ".batch-x.jsonl",
        "status": "ended",
        "message": "",
        "jobs": 2,
        "ended": 2,
    },
)
DEFERRED = {
    "folder": "/tmp/b",
    "storage_conn_id": None,
    "record": f".batch-{IDENTITY.key[:16]}.1-abcd.jsonl",
    "sha256": SPENT,
    "jobs": 2,
    "spent": 0.2,
    "held": 0.2,
    "spent_unknown": 0,
    "series": "s.2",
    "anew": False,
    "arguments": {"prompt": "A red cube", "model": "m", "seed": 42, "deferrable": True},
}
POSITION = {
    "version": 1,
    "start": 1780000000,
    "latest": 1780000100.5,
    "unfinished": None,
    "told": {"a1": 1780000001},
}
KWARGS: tuple[tuple[type[Any], dict[str, Any]], ...] = (
    (
        OxenGenerationTrigger,
        {
            "generation_id": "a1",
            "oxen_conn_id": "oxen_default",
            "namespace": None,
            "poll_interval": 5.0,
            "deadline": 1.0,
            "patience": 0.0,
            "cancel_on_kill": False,
            "deferred_at": 1.0,
        },
    ),
    (
        OxenModelTrigger,
        {
            "model": "m",
            "parameters": {"seed": 1},
            "fail_fast": False,
            "oxen_conn_id": "oxen_default",
            "poke_interval": 0.01,
            "deadline": 1.0,
            "deferred_at": None,
        },
    ),
    (
        OxenBatchTrigger,
        {
            "record": ".batch-x.jsonl",
            "folder": "/nowhere/at/all",
            "identity": IDENTITY.key,
            "jobs": 2,
            "storage_conn_id": None,
            "oxen_conn_id": "oxen_default",
            "poll_interval": 5.0,
            "deadline": 1.0,
            "patience": 0.0,
            "deferred_at": None,
        },
    ),
)


class _Store:
    """Airflow's task state store, as far as it is used."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def get(self, key: str) -> Any:
        return self.value

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.value = value

    def delete(self, key: str) -> None:
        self.value = None


@cache
def _place() -> Path:
    return Path(tempfile.mkdtemp(prefix="oxen-fuzz-"))


def _folder(**files: bytes) -> LocalFolder:
    place = _place()
    for left in place.iterdir():
        left.unlink()
    for name, content in files.items():
        (place / name.replace("__", ".")).write_bytes(content)
    return LocalFolder(str(place))


def _put(name: str, content: bytes) -> None:
    (_place() / name).write_bytes(content)


def record(rng: Random) -> Callable[[], object]:
    """A task's record, in either place or in both."""
    beside = as_json(rng, bent(rng, rng.choice(RECORDS)))
    intent = as_json(rng, bent(rng, {**RECORDS[1], "number": 2})) if rng.random() < 0.2 else None
    stored = bent(rng, rng.choice(RECORDS))
    stored = rng.choice((None, stored, as_json(rng, stored).decode(errors="replace")))

    def case() -> None:
        folder, name = _folder(), file_name("hero", IDENTITY.key)
        _put(name, beside)
        if intent is not None:
            _put(file_name("hero", IDENTITY.key, 2), intent)
        home = BothRecordStores(
            StateRecordStore(_Store(stored), IDENTITY.key, None),
            FileRecordStore(folder, "hero", IDENTITY.key, "mark"),
        )
        found = home.read()
        if found is not None:
            told = (
                found.job,
                found.since,
                found.order,
                found.is_over,
                found.can_be_fetched,
                found.is_in_vain,
            )
            json.dumps([found.as_json(), *told], allow_nan=False, ensure_ascii=False).encode()
            home.write(found.to("submitted", generation_id="a2"))
            home.close(found.to("kept"))

    return case


def side(rng: Random) -> Callable[[], object]:
    """A sidecar beside an image."""
    content = as_json(rng, bent(rng, rng.choice((SIDECAR, SIDECAR, UNFINISHED))))
    overwrite = rng.random() < 0.2

    def case() -> None:
        folder = _folder(hero__png=b"image")
        _put("hero.json", content)
        for ask in (
            sidecar.is_free,
            sidecar.read,
            sidecar.parts_of,
            sidecar.made_by,
            sidecar.job_of,
        ):
            # What the store cannot tell is told by whoever asks them.
            with suppress(OSError):
                ask(folder, "hero")
        output = Output(IDENTITY, IDENTITY.key, 2, SPENT, folder, "hero", overwrite, 1000, 2, 0)
        left = output.left()
        output.is_own()
        if left is not None:
            output.is_of(left)
            json.dumps([left.as_json(), left.job], allow_nan=False).encode()
        if (found := output.find(["hero.png"])) is not None:
            json.dumps([found, output.previews], allow_nan=False, ensure_ascii=False).encode()

    return case


def batch(rng: Random) -> Callable[[], object]:
    """What a batch has left in its folder, and in Airflow's store."""
    lines = [as_json(rng, bent(rng, line, rng.choice((0, 0, 1, 2)))) for line in (HEADER, *LINES)]
    name, whole = f".batch-{IDENTITY.key[:16]}.1-abcd.jsonl", b"\n".join(lines)
    account, stored = as_json(rng, bent(rng, ACCOUNT)), bent(rng, ACCOUNT)
    mark, summary = as_json(rng, bent(rng, {"format": "x", "nonce": "m"})), as_json(rng, bent(rng, SUMMED))
    manifest = b"\n".join(as_json(rng, bent(rng, LINES[1]["entry"])) for _ in range(3))
    stored = rng.choice((None, stored))

    def case() -> None:
        folder = _folder()
        accounts = AccountStore(_Store(stored), None, folder, IDENTITY, "mark")
        for file, content in (
            (accounts.name, account),
            (MARK, mark),
            (SUMMARY, summary),
            (MANIFEST, manifest),
            (name, whole),
        ):
            _put(file, content)
        accounts.read_mark()
        accounts.read_summary()
        _try(accounts.read)
        _try(lambda: batch_record.read_waiting(folder.uri(""), None, name, IDENTITY.key, 1))
        ids_of(folder)
        with RowStore() as rows:
            BatchRecord(folder, rows, IDENTITY.key, 1, "mark").load(name, None, Counter())
            for state in (NEW, OPEN, WAITING):
                list(rows.in_state(state))
            json.dumps([entry for _, entry, _ in rows.entries()], allow_nan=False)
            list(rows.dump())

    return case


def _try(ask: Callable[[], object]) -> None:
    try:
        ask()
    except OxenError as error:
        logging.getLogger("airflow_provider_oxen").info("%s", error)


def xcom(rng: Random) -> Callable[[], object]:
    """What the Images view finds in Airflow's database."""
    value = bent(rng, PUSHED)
    value = rng.choice((value, as_json(rng, value).decode(errors="replace")))
    row = Row(
        "run/1",
        "hero",
        rng.choice((-1, 0, 10**6)),
        rng.choice(("success", "failed", "running", None, "x")),
        value=rng.choice((None, bent(rng, FACTS))),
    )

    def case() -> None:
        for tile in tiles_of(row, value):
            f"{tile}".encode()

    return case


def event(rng: Random) -> Callable[[], object]:
    """What Airflow hands to a resumed task, and to a trigger: events, what was deferred with, positions."""
    told = bent(rng, rng.choice(EVENTS))
    kept, position = bent(rng, DEFERRED), bent(rng, POSITION)

    def case() -> None:
        for read, about in (
            (read_event, "a1"),
            (read_model_event, "m"),
            (read_batch_event, ".batch-x.jsonl"),
        ):
            _try(lambda read=read, about=about: read(told, about))  # type: ignore[misc]
        restore(SimpleNamespace(), kept, ("prompt", "model", "seed"))
        try:
            cursor = Cursor.from_json(position)
        except ValueError:
            pass
        else:
            json.dumps(cursor.as_json(), allow_nan=False, ensure_ascii=False).encode()
        read_deferral(kept, told, IDENTITY.key)

    return case


class _Hook:
    """A connection that is not there."""

    def __init__(self, conn_id: Any) -> None:
        self.oxen_conn_id = conn_id

    async def asettings(self) -> Any:
        raise OxenConnectionError("There is no such connection.")

    get_async_conn = asettings


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def close() -> None:
    """Leave nothing behind."""
    _loop().close()
    _loop.cache_clear()
    shutil.rmtree(_place())
    _place.cache_clear()


def kwargs(rng: Random) -> Callable[[], object]:
    """Arguments of triggers, as Airflow's database holds them."""
    kind, good = rng.choice(KWARGS)
    given = bent(rng, good, rng.choice((1, 1, 2, 3)))
    named = (
        {name: value for name, value in given.items() if name in good} if isinstance(given, dict) else good
    )
    if KEY in repr(named):
        named = {}  # They are the user's own words.

    def case() -> None:
        try:
            trigger = kind(**{**good, **named})
        except (TypeError, ValueError):
            return  # Airflow takes it for the fault of one trigger.
        _loop().run_until_complete(_run(trigger))

    return case


async def _run(trigger: Any) -> None:
    with (
        mock.patch("airflow_provider_oxen.hooks.oxen.OxenHook", _Hook),
        mock.patch("airflow_provider_oxen.triggers.batch_record.PAUSES", ()),
        mock.patch("airflow_provider_oxen.triggers._base.SECONDS", 0.0),
    ):
        told = [event async for event in trigger.run()]
    if len(told) != 1:
        raise AssertionError(f"{len(told)} events")
    json.dumps(told[0].payload)
