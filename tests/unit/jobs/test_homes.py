"""A record is where it was put, whole or not at all; "could not read" is never "there is none"."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs import homes
from airflow_provider_oxen.jobs.homes import FileHome, Home, NoHome, StoreHome
from airflow_provider_oxen.jobs.record import Record

IDENTITY = "0123456789abcdef" * 4
MARK = "0123456789abcdef.1"
NEVER = object()
SIGNED = "https://store.example/x?sig=signature-that-must-not-leak"
FILE = ".hero.0123456789abcdef.job.json"


def record(**changes: Any) -> Record:
    facts: dict[str, Any] = {
        "phase": "intent",
        "nonce": "n1",
        "identity": IDENTITY,
        "time": 1.5,
        "endpoint": "queue",
        "body": {"model": "m", "prompt": "Ein Würfel"},
        "origin": "https://hub.example",
        "fingerprint": "f",
    }
    return Record(**{**facts, **changes})


class Store:
    """A task state store that remembers how it was used, and fails as told."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.retentions: list[Any] = []
        self.error: Exception | None = None

    def _use(self) -> None:
        if self.error:
            raise self.error

    def get(self, key: str) -> Any:
        self._use()
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._use()
        self.values[key] = json.loads(json.dumps(value))
        self.retentions.append(retention)

    def delete(self, key: str) -> None:
        self._use()
        self.values.pop(key, None)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(str(tmp_path))


@pytest.fixture(params=["store", "file"])
def home(request: pytest.FixtureRequest, store: Store, folder: LocalFolder) -> Home:
    """Either place that keeps what is written."""
    if request.param == "store":
        return StoreHome(store, IDENTITY, NEVER)
    return FileHome(folder, "hero", IDENTITY, MARK)


def break_(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything fail from now on, with a signed link in its words."""
    if isinstance(home, StoreHome):
        home.store.error = RuntimeError(f"the API server is away: {SIGNED}")  # type: ignore[attr-defined]
        return

    def fail(*arguments: Any) -> Any:
        raise OSError(f"the disk is on fire: {SIGNED}")

    for name in ("read", "put", "create", "remove"):
        monkeypatch.setattr(LocalFolder, name, fail)


def test_there_is_none_before_it_is_written(home):
    assert home.keeps
    assert home.read() is None


def test_what_is_created_is_read_back(home):
    home.create(record())

    assert home.read() == record()


def test_what_is_written_takes_the_place_of_what_was_there(home):
    home.create(record())
    home.write(record(phase="submitted", generation_id="g"))

    assert home.read() == record(phase="submitted", generation_id="g")


def test_what_is_removed_is_gone_and_to_remove_it_again_is_no_error(home):
    home.create(record())
    home.delete()
    home.delete()

    assert home.read() is None


@pytest.mark.parametrize(
    ("ask", "done"),
    [
        (lambda home: home.read(), "read"),
        (lambda home: home.create(record()), "written"),
        (lambda home: home.write(record()), "written"),
        (lambda home: home.delete(), "removed"),
        (lambda home: home.close(record(phase="ended")), "written"),
        (lambda home: home.close(record(phase="kept")), "written"),
    ],
    ids=["read", "create", "write", "delete", "close ended", "close kept"],
)
def test_home_that_fails_says_so_without_a_signature(home, monkeypatch, ask, done):
    break_(home, monkeypatch)

    with pytest.raises(OxenStoreUnavailable) as caught:
        ask(home)

    assert f"The record of this task's paid job could not be {done}: " in str(caught.value)
    assert "Nothing was sent by this try." in str(caught.value)
    assert "signature-that-must-not-leak" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert caught.value.retry_helps


def test_record_that_cannot_be_relied_upon_is_no_missing_one(home):
    home.write(record(identity="fedcba9876543210" * 4))

    with pytest.raises(OxenRecordError, match="it is another task's"):
        home.read()


# The store.


def test_value_in_the_store_never_expires(store):
    home = StoreHome(store, IDENTITY, NEVER)

    home.create(record())
    home.write(record(phase="submitted"))
    home.close(record(phase="kept"))

    assert store.retentions == [NEVER] * 3


def test_key_in_the_store_stays_what_it_is():
    """Changing it would lose the jobs that are on their way."""
    assert homes.KEY == "airflow_provider_oxen_job"


def test_store_keeps_the_record_of_a_job_that_is_done(store):
    home = StoreHome(store, IDENTITY, NEVER)

    home.close(record(phase="kept", generation_id="g"))

    assert home.read() == record(phase="kept", generation_id="g")


# The file.


def test_file_is_hidden_beside_the_output_and_named_after_it_and_the_task(folder, tmp_path):
    FileHome(folder, "hero", IDENTITY, MARK).create(record())

    assert os.listdir(tmp_path) == [FILE]
    assert json.loads((tmp_path / FILE).read_text())["body"]["prompt"] == "Ein Würfel"
    assert "Würfel" in (tmp_path / FILE).read_text()


def test_file_that_is_there_stays_as_it_is(folder):
    home = FileHome(folder, "hero", IDENTITY, MARK)
    home.create(record(nonce="first"))

    home.create(record(nonce="second"))

    assert home.read() == record(nonce="first")


def test_tasks_of_one_folder_have_files_of_their_own(folder):
    other = "fedcba9876543210" * 4
    FileHome(folder, "hero", IDENTITY, MARK).create(record())
    FileHome(folder, "hero", other, "fedcba9876543210.1").create(record(identity=other))

    assert FileHome(folder, "hero", IDENTITY, MARK).read() == record()


def test_file_is_gone_once_the_image_is_kept(folder, tmp_path):
    home = FileHome(folder, "hero", IDENTITY, MARK)
    home.create(record())

    home.close(record(phase="kept"))

    assert os.listdir(tmp_path) == []


def test_file_of_a_job_that_ended_stays(folder):
    home = FileHome(folder, "hero", IDENTITY, MARK)

    home.close(record(phase="ended", status="failed"))

    assert home.read() == record(phase="ended", status="failed")


def test_file_that_cannot_be_removed_says_that_the_image_is_kept(folder, monkeypatch):
    home = FileHome(folder, "hero", IDENTITY, MARK)
    home.create(record())

    def fail(*arguments: Any) -> None:
        raise PermissionError("no deleting here")

    monkeypatch.setattr(LocalFolder, "remove", fail)

    home.close(record(phase="kept", items=[{"url": SIGNED}]))

    assert home.read() == record(phase="kept")


def test_where_no_folder_can_be_there_is_no_record(tmp_path):
    (tmp_path / "file").touch()

    assert FileHome(LocalFolder(str(tmp_path / "file")), "hero", IDENTITY, MARK).read() is None


# Nowhere.


def test_nowhere_keeps_nothing():
    home = NoHome()

    home.create(record())
    home.write(record())
    home.close(record(phase="kept"))
    home.delete()

    assert not home.keeps
    assert home.read() is None
