"""Is it the folder that the batch was begun in, and what does the task remember of it?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenChangedRequest, OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.batch.account import KEY, MARK, Account, AccountStore, check_folder, clear_key_of
from airflow_provider_oxen.images.storage import LocalFolder
from airflow_provider_oxen.jobs.task import Identity

IDENTITY = Identity("dag", "run 1", "pictures", -1)
HERE, THERE = "file:///data/out/", "file:///elsewhere/"


class Store:
    """Airflow's task state store, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        assert retention == "never"
        self.values[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        raise NotImplementedError


def account(mark: str | None = "a", **facts: Any) -> Account:
    return Account(**{"identity": IDENTITY.key, "folder": HERE, "mark": mark, **facts})


@pytest.fixture(params=["store", "file"])
def accounts(request: pytest.FixtureRequest, tmp_path: Path) -> AccountStore:
    store = Store() if request.param == "store" else None
    return AccountStore(store, "never", LocalFolder(str(tmp_path)), IDENTITY, "5e.1")


def judged(
    account: Account | None, found: str | None, *, here: str = HERE, begun: bool = False,
    unknown: str = "fail", changed: str = "fail",
) -> bool:  # fmt: skip
    return check_folder(
        account, found, here, begun=begun, on_unknown_outcome=unknown, on_changed_request=changed
    )


@pytest.mark.parametrize("found", [None, "a"])
@pytest.mark.parametrize("begun", [False, True])
def test_task_that_remembers_nothing_is_sure_of_its_first_try_alone(found, begun):
    assert judged(None, found, begun=begun) is begun


@pytest.mark.parametrize("unsure", [False, True])
def test_folder_with_the_mark_is_the_folder_however_it_is_called(unsure):
    assert judged(account("a", unsure=unsure), "a") is unsure
    assert judged(account("a", unsure=unsure), "a", here=THERE) is unsure


@pytest.mark.parametrize("unsure", [False, True])
def test_task_that_has_sent_nothing_may_begin_anywhere(unsure):
    assert judged(account(None, unsure=unsure), "b", here=THERE) is unsure


@pytest.mark.parametrize("found", [None, "b"])
def test_other_folder_behind_the_same_path_stops_unless_told_otherwise(found):
    with pytest.raises(OxenRecordError, match="own disk, or the folder was removed") as caught:
        judged(account("a"), found)

    assert not caught.value.retry_helps
    for words in ("is not here", "'adopt'", "'resubmit'"):
        assert words in caught.value.message
    assert judged(account("a"), found, unknown="resubmit") is False
    assert judged(account("a"), found, unknown="adopt") is True


def test_folder_that_the_user_changed_is_a_changed_request():
    with pytest.raises(OxenChangedRequest, match="but storage_path is file:///elsewhere/ now"):
        judged(account("a"), "b", here=THERE, unknown="resubmit")

    assert judged(account("a"), "b", here=THERE, changed="submit") is False


def test_account_is_kept_and_read(accounts):
    kept = account(spent=0.03, held=0.04, spent_unknown=2, series="x.0", unsure=True)
    assert accounts.read() is None

    accounts.write(kept)

    assert accounts.read() == kept


def test_account_survives_a_store_that_was_discarded_and_a_folder_that_was(tmp_path):
    store = Store()
    accounts = AccountStore(store, "never", LocalFolder(str(tmp_path)), IDENTITY, "5e.1")
    accounts.write(account())
    store.values.clear()
    assert accounts.read() == account()

    accounts.write(account())
    (tmp_path / accounts.name).unlink()
    assert accounts.read() == account()


def test_file_tells_where_the_store_does_not_know_of_a_request_yet(tmp_path):
    store = Store()
    accounts = AccountStore(store, "never", LocalFolder(str(tmp_path)), IDENTITY, "5e.1")
    accounts.write(account())
    store.values.clear()

    accounts.write(account(None))

    assert accounts.read() == account()


def test_batch_that_has_sent_nothing_leaves_no_file_where_there_is_a_store(accounts, tmp_path):
    accounts.write(account(None))

    assert accounts.read() == account(None)
    assert bool(list(tmp_path.iterdir())) is (accounts.store is None)


def test_closed_account_leaves_no_file(accounts, tmp_path):
    accounts.write(account())
    accounts.close(account())

    assert list(tmp_path.iterdir()) == []
    assert accounts.read() == (account() if accounts.store else None)


def test_account_of_nothing_is_withdrawn_and_no_other(accounts, tmp_path):
    accounts.write(account(None))
    accounts.withdraw()
    assert list(tmp_path.iterdir()) == []

    accounts.write(account())
    accounts.withdraw()
    assert accounts.read() == account()


@pytest.mark.parametrize(
    "told", ["{", '{"format": "other"}', "[1]", json.dumps(account().model_dump() | {"spent": -1})]
)
def test_damaged_account_stops(tmp_path, told):
    accounts = AccountStore(None, None, LocalFolder(str(tmp_path)), IDENTITY, "5e.1")
    (tmp_path / accounts.name).write_text(told)

    with pytest.raises(OxenRecordError, match=r"cannot be used"):
        accounts.read()


def test_account_of_another_task_stops(accounts):
    accounts.write(account(identity="0" * 64))

    with pytest.raises(OxenRecordError, match="it is another task's"):
        accounts.read()


def test_store_that_does_not_answer_is_told(accounts, monkeypatch):
    def read(*_: Any) -> None:
        raise OSError("timed out: https://store.example/x?signature=abc")

    monkeypatch.setattr(LocalFolder, "read", read)

    with pytest.raises(OxenStoreUnavailable, match="could not be read: OSError") as caught:
        accounts.read()
    assert "abc" not in caught.value.message


def test_mark_is_made_once_for_all(accounts, tmp_path):
    assert accounts.read_mark() is None
    mark = accounts.ensure_mark()

    assert accounts.ensure_mark() == accounts.read_mark() == mark
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_mark_that_another_made_meanwhile_is_the_folders(accounts, monkeypatch):
    real = LocalFolder.create

    def create(self: Any, name: str, content: bytes, mark: str) -> bool:
        real(self, name, json.dumps({"nonce": "theirs"}).encode(), mark)
        return real(self, name, content, mark)

    monkeypatch.setattr(LocalFolder, "create", create)

    assert accounts.ensure_mark() == "theirs"


def test_mark_that_is_not_there_after_it_was_made_stops(accounts, monkeypatch):
    monkeypatch.setattr(LocalFolder, "create", lambda *_: True)

    with pytest.raises(OxenStoreUnavailable, match="was written, and is not there"):
        accounts.ensure_mark()


@pytest.mark.parametrize("content", [b"", b"{", b'{"nonce": 7}', b"\xff"])
def test_damaged_mark_is_a_mark_of_its_own(accounts, tmp_path, content):
    (tmp_path / MARK).write_bytes(content)

    assert accounts.ensure_mark() == accounts.read_mark()
    (tmp_path / MARK).write_bytes(b"{}")
    assert accounts.read_mark() not in (None, "", content)


@pytest.mark.parametrize(
    ("summary", "ours"),
    [
        (None, False),
        (IDENTITY._asdict(), True),
        (IDENTITY._asdict() | {"run_id": "run 2"}, False),
        ([], False),
        ({}, False),
    ],
)
def test_summary_of_an_earlier_version_tells_of_a_try(accounts, tmp_path, summary, ours):
    if summary is not None:
        (tmp_path / "summary.json").write_text(json.dumps(summary))

    assert (accounts.read_summary() is not None) is ours


@pytest.mark.parametrize(
    ("facts", "over"),
    [
        ({"finished": True, "failed": 0, "unknown": 0}, True),
        ({"finished": False, "failed": 0, "unknown": 0}, False),
        ({"finished": True, "failed": 1, "unknown": 0}, False),
        ({"finished": True, "failed": 0, "unknown": 1}, False),
        ({"finished": True}, False),
    ],
)
def test_summary_tells_of_a_clearing_whose_images_all_are_kept(accounts, tmp_path, facts, over):
    summary = {**IDENTITY._asdict(), "clearing": "5e.1.4", "clear_number": 4, **facts}
    (tmp_path / "summary.json").write_text(json.dumps(summary))

    told = accounts.read_summary()

    assert (told.series, told.clear_number, told.over) == ("5e.1.4", 4, over)
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"clear_number": "many"}))
    assert accounts.read_summary() is None


LAST = {"series": "5e.1", "clear_number": 1, "over": True}


@pytest.mark.parametrize(
    ("last", "clear_number", "series"),
    [
        (LAST, 2, "5e.1.2"),
        (LAST | {"series": "5e.1.1"}, 2, "5e.1.2"),
        # Nobody has cleared anything.
        (LAST, 1, "5e.1"),
        (LAST | {"series": "5e.1.1"}, 1, "5e.1.1"),
        # Another task was cleared, and Airflow tries this one again.
        (LAST | {"over": False}, 2, "5e.1"),
        (LAST | {"series": "5e.1.1", "over": False}, 2, "5e.1.1"),
        # Nobody knows.
        (LAST, None, "5e.1"),
        (LAST | {"clear_number": None}, 2, "5e.1"),
        (LAST | {"series": "5e.1.1", "clear_number": None}, 2, "5e.1.1"),
        # max_tries shows it, or an earlier version has left nothing that does.
        (LAST | {"series": "5e.0"}, 2, "5e.1"),
        (LAST | {"series": "5e.11"}, 2, "5e.1"),
        (LAST | {"series": "5e.0.1", "over": False}, 2, "5e.1"),
        (LAST | {"series": ""}, 2, "5e.1"),
    ],
)
def test_clearing_is_another_where_the_run_was_cleared_after_the_last_try(last, clear_number, series):
    assert clear_key_of("5e.1", account(**last), clear_number) == series


@pytest.mark.parametrize("clear_number", [None, 0, 3])
def test_clearing_of_a_task_that_remembers_nothing_is_the_one_of_its_tries(clear_number):
    assert clear_key_of("5e.1", None, clear_number) == "5e.1"


def test_end_is_remembered_wherever_anything_is(accounts, tmp_path):
    accounts.mark_over(3, is_ours=True)
    assert list(tmp_path.iterdir()) == []
    accounts.write(account())

    accounts.mark_over(3, is_ours=True)
    accounts.mark_over(4, is_ours=True)

    assert accounts.read() == account(over=True, clear_number=3)
    assert json.loads((tmp_path / accounts.name).read_bytes())["over"] is True


@pytest.mark.parametrize("beside", [None, "b"])
def test_end_is_not_remembered_in_another_folder(tmp_path, beside):
    accounts = AccountStore(Store(), "never", LocalFolder(str(tmp_path)), IDENTITY, "5e.1")
    accounts.write(account())
    if beside:
        (tmp_path / accounts.name).write_text(account(beside).model_dump_json())
    else:
        (tmp_path / accounts.name).unlink()

    accounts.mark_over(3, is_ours=True)

    assert accounts.read() == account(over=True, clear_number=3)
    assert accounts._beside() == (account(beside) if beside else None)


def test_account_that_alone_tells_the_clearing_is_kept(accounts):
    accounts.close(account(series="5e.1.2"))

    assert accounts._beside() == account(series="5e.1.2")


def test_key_of_the_store_stays_what_it_is():
    # Another one would forget the folders of batches that are on their way.
    assert KEY == "airflow_provider_oxen_batch"
    assert MARK == ".oxen-folder.json"
