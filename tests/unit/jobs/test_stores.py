"""A record is where it was put, whole or not at all; "could not read" is never "there is none"."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs import filestore, stores
from airflow_provider_oxen.jobs.filestore import FileRecordStore
from airflow_provider_oxen.jobs.record import Record
from airflow_provider_oxen.jobs.stores import BothRecordStores, NoRecordStore, RecordStore, StateRecordStore

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
def home(request: pytest.FixtureRequest, store: Store, folder: LocalFolder) -> RecordStore:
    """Either place that keeps what is written."""
    if request.param == "store":
        return StateRecordStore(store, IDENTITY, NEVER)
    return FileRecordStore(folder, "hero", IDENTITY, MARK)


def break_(home: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything fail from now on, with a signed link in its words."""
    if isinstance(home, StateRecordStore):
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


@pytest.mark.parametrize(
    ("ask", "done"),
    [
        (lambda home: home.read(), "read"),
        (lambda home: home.write(record()), "written"),
        (lambda home: home.close(record(phase="kept")), "written"),
    ],
    ids=["read", "write", "close kept"],
)
def test_home_that_fails_says_so_without_a_signature(home, monkeypatch, ask, done):
    break_(home, monkeypatch)

    with pytest.raises(OxenStoreUnavailable) as caught:
        ask(home)

    # The store is read before it is written.
    told = [f"could not be {word}: " in str(caught.value) for word in (done, "read")]
    assert any(told)
    assert caught.value.spent == "no"
    assert "signature-that-must-not-leak" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert caught.value.retry_helps


def test_record_that_cannot_be_relied_upon_is_no_missing_one(home):
    home.write(record(identity="fedcba9876543210" * 4))

    with pytest.raises(OxenRecordError, match="it belongs to another task"):
        home.read()


# The store.


def test_value_in_the_store_never_expires(store):
    home = StateRecordStore(store, IDENTITY, NEVER)

    home.create(record())
    home.write(record(phase="submitted"))
    home.close(record(phase="kept"))

    assert store.retentions == [NEVER] * 3


def test_key_in_the_store_stays_what_it_is():
    """Changing it would lose the jobs that are on their way."""
    assert stores.KEY == "airflow_provider_oxen_job"


def test_store_keeps_the_record_of_a_job_that_is_done(store):
    home = StateRecordStore(store, IDENTITY, NEVER)

    home.close(record(phase="kept", generation_id="g"))

    assert home.read() == record(phase="kept", generation_id="g")


# The file.


def test_file_is_hidden_beside_the_output_and_named_after_it_and_the_task(folder, tmp_path):
    FileRecordStore(folder, "hero", IDENTITY, MARK).create(record())

    assert os.listdir(tmp_path) == [FILE]
    assert json.loads((tmp_path / FILE).read_text())["body"]["prompt"] == "Ein Würfel"
    assert "Würfel" in (tmp_path / FILE).read_text()


def test_file_that_is_there_stays_as_it_is(folder):
    home = FileRecordStore(folder, "hero", IDENTITY, MARK)
    home.create(record(nonce="first"))

    home.create(record(nonce="second"))

    assert home.read() == record(nonce="first")


def test_tasks_of_one_folder_have_files_of_their_own(folder):
    other = "fedcba9876543210" * 4
    FileRecordStore(folder, "hero", IDENTITY, MARK).create(record())
    FileRecordStore(folder, "hero", other, "fedcba9876543210.1").create(record(identity=other))

    assert FileRecordStore(folder, "hero", IDENTITY, MARK).read() == record()


def test_file_is_gone_once_the_image_is_kept(folder, tmp_path):
    home = FileRecordStore(folder, "hero", IDENTITY, MARK)
    home.create(record())

    home.close(record(phase="kept"))

    assert os.listdir(tmp_path) == []


def test_file_of_a_job_that_ended_stays(folder):
    home = FileRecordStore(folder, "hero", IDENTITY, MARK)

    home.close(record(phase="ended", status="failed"))

    assert home.read() == record(phase="ended", status="failed")


def test_file_that_cannot_be_removed_says_that_the_image_is_kept(folder, monkeypatch):
    home = FileRecordStore(folder, "hero", IDENTITY, MARK)
    home.create(record())

    def fail(*arguments: Any) -> None:
        raise PermissionError("no deleting here")

    monkeypatch.setattr(LocalFolder, "remove", fail)

    home.close(record(phase="kept", items=[{"url": SIGNED}]))

    assert home.read() == record(phase="kept")


def test_where_no_folder_can_be_there_is_no_record(tmp_path):
    (tmp_path / "file").touch()

    assert FileRecordStore(LocalFolder(str(tmp_path / "file")), "hero", IDENTITY, MARK).read() is None


# Intents in files.


def test_what_is_no_file_in_a_records_place_is_a_damaged_record(folder, tmp_path):
    os.mkfifo(tmp_path / FILE)

    with pytest.raises(OxenRecordError):
        record_store(folder).read()


def record_store(folder: LocalFolder) -> FileRecordStore:
    return FileRecordStore(folder, "hero", IDENTITY, MARK)


def told(store: RecordStore) -> Record:
    """Return the record that a store has."""
    found = store.read()
    assert found is not None
    return found


def begun(folder: LocalFolder, **facts: Any) -> FileRecordStore:
    """Return a home in which a try has found that nothing was sent."""
    home = record_store(folder)
    home.create(record(phase="not_sent", nonce="n0", submissions=0, **facts))
    home.read()
    return home


def intent(number: int, nonce: str = "n1") -> Record:
    return record(number=number, nonce=nonce)


def test_of_two_tries_with_the_same_intent_one_alone_goes_on(folder):
    first, second = begun(folder), record_store(folder)
    second.read()

    first.write(intent(1))
    with pytest.raises(OxenOvertaken, match="Another try has written"):
        second.write(intent(1, "n2"))

    assert record_store(folder).read() == intent(1)


@pytest.mark.parametrize("numbered", [True, False])
def test_more_may_become_known_of_an_intent(folder, numbered):
    home = begun(folder) if numbered else record_store(folder)
    home.read()
    home.write(intent(1))

    home.write(record(number=1, reason="an answer that cannot be read"))

    assert told(record_store(folder)).reason == "an answer that cannot be read"


def test_of_two_first_intents_one_alone_is_written(folder):
    first, second = record_store(folder), record_store(folder)
    assert first.read() is second.read() is None

    first.write(intent(1))
    with pytest.raises(OxenOvertaken):
        second.write(intent(1, "n2"))


def test_last_of_several_intents_is_the_record(folder, tmp_path):
    home = begun(folder)
    home.write(intent(1))
    home.read()
    home.write(intent(2, "n2"))

    assert record_store(folder).read() == intent(2, "n2")


def test_file_of_an_intent_is_gone_when_the_next_phase_is_written(folder, tmp_path):
    home = begun(folder)
    home.write(intent(1))
    assert len(os.listdir(tmp_path)) == 2

    home.write(record(phase="submitted", number=1, generation_id="g"))

    assert os.listdir(tmp_path) == [FILE]
    assert told(home).phase == "submitted"


def test_intent_whose_file_could_not_be_removed_is_no_longer_looked_at(folder, monkeypatch, tmp_path):
    home = begun(folder)
    home.write(intent(1))
    monkeypatch.setattr(LocalFolder, "remove", lambda *_: (_ for _ in ()).throw(PermissionError("no")))

    home.write(record(phase="submitted", number=1, generation_id="g"))

    assert len(os.listdir(tmp_path)) == 2
    assert told(record_store(folder)).phase == "submitted"


def test_intent_over_a_record_that_others_have_ended_meanwhile_is_withdrawn(folder, tmp_path):
    """They were at work from the first byte to the last, and took the record away."""
    late = begun(folder)
    other = record_store(folder)
    other.read()
    other.write(intent(1))
    other.write(record(phase="submitted", number=1, generation_id="g"))
    other.close(record(phase="kept", number=1, generation_id="g"))

    with pytest.raises(OxenOvertaken):
        late.write(intent(1, "n2"))

    assert os.listdir(tmp_path) == []


def test_late_try_writes_nothing_over_a_later_record_in_the_store(store):
    late = StateRecordStore(store, IDENTITY, NEVER)
    late.write(record(phase="not_sent", number=1))
    StateRecordStore(store, IDENTITY, NEVER).write(
        record(phase="submitted", number=2, nonce="n2", generation_id="g")
    )

    with pytest.raises(OxenOvertaken):
        late.write(record(number=2, nonce="n3"))

    assert told(late).generation_id == "g"


@pytest.mark.parametrize("phase", ["not_sent", "ended", "answered", "cancelling"])
def test_late_try_writes_nothing_over_its_successors_record(folder, phase):
    late = begun(folder)
    late.write(intent(1))
    other = record_store(folder)
    other.read()
    other.write(intent(2, "n2"))

    with pytest.raises(OxenOvertaken, match=r"Another try \(intent, a request for m\)"):
        late.write(record(phase=phase, number=1))

    assert record_store(folder).read() == intent(2, "n2")


def test_record_of_an_earlier_version_counts_submissions_alone(folder):
    old = record_store(folder)
    old.create(record(submissions=2))
    home = record_store(folder)
    assert told(home).order == 2

    home.write(intent(3, "n2"))

    assert record_store(folder).read() == intent(3, "n2")


def test_intent_whose_number_another_place_has_told_is_found(folder):
    home = begun(folder)

    home.write(intent(6))

    assert record_store(folder).read() == intent(6)


def test_more_intents_than_anybody_writes_stop(folder, monkeypatch):
    monkeypatch.setattr(filestore, "_MOST", 3)
    home = begun(folder)
    for number in (1, 2):
        home.read()
        home.write(intent(number, f"n{number}"))

    with pytest.raises(OxenRecordError, match="are 3 intents or more"):
        home.read()


def test_kept_job_leaves_no_file_of_an_intent_behind(folder, tmp_path):
    home = begun(folder)
    home.write(intent(1))
    home.read()
    home.write(intent(2, "n2"))

    home.close(record(phase="kept", number=2, nonce="n2"))

    assert os.listdir(tmp_path) == []


# Both.


@pytest.fixture
def both(store: Store, folder: LocalFolder) -> BothRecordStores:
    return BothRecordStores(StateRecordStore(store, IDENTITY, NEVER), record_store(folder))


def test_both_places_have_it(both, store, folder):
    both.create(record(phase="not_sent", submissions=0))
    both.read()
    both.write(intent(1))

    assert both.store.read() == both.file.read() == both.read() == intent(1)


@pytest.mark.parametrize("gone", ["store", "file"])
def test_what_one_place_has_lost_the_other_tells(both, store, tmp_path, gone):
    both.create(record())
    if gone == "store":
        store.values.clear()
    else:
        (tmp_path / FILE).unlink()

    assert both.read() == record()


def test_only_what_both_have_lost_is_none(both):
    assert both.read() is None


@pytest.mark.parametrize("later", ["submitted", "answered", "kept", "ended"])
def test_of_one_job_the_further_phase_counts(both, later):
    both.store.write(record(phase=later))
    both.file.create(record())

    assert both.read().phase == later


def test_of_two_jobs_the_later_intent_counts(both):
    both.store.write(record(phase="kept", nonce="n1", number=1))
    both.file.create(record(nonce="n2", number=2))

    assert both.read().nonce == "n2"


def test_of_two_jobs_with_one_number_nobody_can_tell(both):
    both.store.write(record(nonce="n1", number=1))
    both.file.create(record(nonce="n2", number=1))

    with pytest.raises(OxenRecordError, match="neither is clearly the later one"):
        both.read()


def test_place_that_cannot_be_read_stops_although_the_other_can(both, store):
    both.create(record())
    store.error = RuntimeError("away")

    with pytest.raises(OxenStoreUnavailable):
        both.read()


def test_intent_that_one_place_does_not_take_stops(both, store):
    both.create(record(phase="not_sent", submissions=0))
    both.read()
    store.error = RuntimeError("away")

    with pytest.raises(OxenStoreUnavailable):
        both.write(intent(1))


def test_what_was_paid_for_is_written_where_it_can_be(both, store, folder, monkeypatch):
    both.create(record(number=1))
    monkeypatch.setattr(LocalFolder, "put", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))

    with pytest.raises(OxenStoreUnavailable, match="full"):
        both.write(record(phase="submitted", number=1, generation_id="g"))

    assert both.store.read().generation_id == "g"


def test_kept_job_stays_in_the_store_alone(both, tmp_path):
    both.create(record())
    both.close(record(phase="kept"))

    assert os.listdir(tmp_path) == []
    assert both.read() == record(phase="kept")


# Nowhere.


def test_nowhere_keeps_nothing():
    home = NoRecordStore()

    home.create(record())
    home.write(record())
    home.close(record(phase="kept"))

    assert not home.keeps
    assert home.read() is None
