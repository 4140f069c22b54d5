"""Check that this is the folder in which the task's batch began, and record what the task has spent.

A folder gets a mark: a nonce in a hidden file, created once for everybody who ever uses it. The task's
account (its folder and its spending) is kept in Airflow's task state store (3.3 and newer) and beside the
output. So a worker that sees another disk behind the same path, or a folder that was removed, is noticed
before it pays for everything again. :func:`check_folder` decides, and is pure.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from airflow_provider_oxen.api.errors import OxenChangedRequest, OxenRecordError, OxenStoreUnavailable
from airflow_provider_oxen.api.jsontext import loads
from airflow_provider_oxen.batch.budget import Sums
from airflow_provider_oxen.batch.report import SUMMARY
from airflow_provider_oxen.images.storage import Folder
from airflow_provider_oxen.jobs.stores import StateStore, ask_store
from airflow_provider_oxen.jobs.task import Identity

__all__ = ["MARK", "Account", "AccountStore", "check_folder", "clear_key_of"]

T = TypeVar("T")

MARK = ".oxen-folder.json"
"""Name of the file that holds a folder's mark."""

KEY = "airflow_provider_oxen_batch"
"""The account's key in the task state store."""

_MARK_FORMAT = "airflow-provider-oxen/folder/1"


class Account(Sums):
    """What a task remembers of its batch, apart from the folder itself.

    :ivar identity: key of the task instance.
    :ivar folder: the batch's folder, without a connection.
    :ivar mark: mark of that folder; None: the task has sent nothing yet.
    :ivar unsure: whether tries that have left nothing may have sent requests.
    :ivar series: the clearing of the task to which the sums belong; see :func:`clear_key_of`.
    :ivar clear_number: how often the Dag run had been cleared by then; None if not known.
    :ivar over: whether the try that wrote this ended in a way that Airflow would not retry.
    """

    format: Literal["airflow-provider-oxen/batch-account/1"] = "airflow-provider-oxen/batch-account/1"
    identity: str
    folder: str
    mark: str | None = None
    unsure: bool = False
    series: str = ""
    clear_number: int | None = None
    over: bool = False


def clear_key_of(base: str, last: Account | None, clear_number: int | None) -> str:
    """Return the clearing of the task to which this try belongs.

    ``max_tries`` alone is not enough: it may stay unchanged. And a Dag run may be cleared for another of its
    tasks, while this one is only retried.

    :param base: the task and its ``max_tries``, by which earlier versions knew a clearing.
    :param last: the account that the last try has left; None: none.
    :param clear_number: how often the Dag run was cleared by now; None if not known.
    """
    if last is None or not f"{last.series}.".startswith(f"{base}."):
        return base
    known = clear_number is not None and last.clear_number is not None
    grown = known and (clear_number or 0) > (last.clear_number or 0)
    return f"{base}.{clear_number}" if grown and last.over else last.series


def check_folder(
    account: Account | None,
    found: str | None,
    here: str,
    *,
    begun: bool,
    on_unknown_outcome: str,
    on_changed_request: str,
) -> bool:
    """Return whether a row of which nothing is found may still have been sent.

    :param account: what the task remembers; None: nothing.
    :param found: the mark of the folder that is there now.
    :param here: that folder, without a connection.
    :param begun: whether there was an earlier try that the folder does not know.
    :raises OxenError: if this is not the folder in which the batch began, so that nothing may be sent.
    """
    if account is None:
        return begun
    if account.mark is None or account.mark == found:
        return account.unsure
    if account.folder != here:
        if on_changed_request == "submit":
            return False
        raise OxenChangedRequest(
            f"This task started its batch in {account.folder}, but storage_path is {here} now.",
            remedy="Set storage_path back, so that what was paid for is found; on_changed_request='submit' "
            "gives that up and pays for all prompts in the new folder.",
        )
    if on_unknown_outcome in ("adopt", "resubmit"):
        return on_unknown_outcome == "adopt"
    what = "is another folder than" if found else "no longer has the marker file of"
    raise OxenRecordError(
        f"{here} {what} the folder in which this task started its batch: each worker has its own disk, or "
        "the folder was removed. What was paid for until then is not here.",
        remedy="Use object storage, or a disk that all workers share, and clear the task. If the folder is "
        "gone for good, on_unknown_outcome='adopt' looks up each prompt in the hub's lists and takes "
        "what was paid for; 'resubmit' pays for everything again.",
    )


@dataclass
class AccountStore:
    """Keeps one task's account, in both places, and the folder's mark.

    If a place does not answer, each method raises ``OxenStoreUnavailable``.

    :param store: Airflow's task state store; None before 3.3.
    :param never: the store's value for "does not expire".
    :param mark: for the names of unfinished files.
    """

    store: StateStore | None
    never: Any
    folder: Folder
    identity: Identity
    mark: str

    @property
    def name(self) -> str:
        """Name of the file beside the output."""
        return f".account-{self.identity.key[:16]}.json"

    def read(self) -> Account | None:
        """Return what the task remembers.

        :raises OxenRecordError: if it is damaged, or another task's.
        """
        stored = None
        if (store := self.store) is not None:
            stored = self._parsed(_ask("read", lambda: store.get(KEY)), f"the value {KEY!r} of its store")
        if stored is not None and stored.mark is not None:
            return stored
        return self._beside() or stored

    def write(self, account: Account) -> None:
        """Keep an account in both places."""
        self._store(account)
        # If nothing was sent, the store is enough, and a refused batch leaves its folder unchanged.
        if self.store is None or account.mark is not None:
            self._put(account)

    def close(self, account: Account) -> None:
        """Keep the account of a batch whose images are all kept; they and the summary hold the rest."""
        if account.series.count(".") > 1:
            # Another task's batch may replace the summary; then max_tries would not show this clearing.
            self.write(account)
            return
        self._store(account)
        _ask("removed", lambda: self.folder.remove(self.name))

    def mark_over(self, clear_number: int | None, *, is_ours: bool) -> None:
        """Record, wherever the account is kept, that Airflow does not retry.

        For a batch that has sent nothing, this is also recorded beside the output: newer Airflow empties the
        store of a cleared task.

        :param clear_number: as the ending try knows it.
        :param is_ours: whether the folder is no other batch's.
        """
        account = self.read()
        if account is None or account.over:
            return
        over = account.model_copy(update={"over": True, "clear_number": clear_number})
        self._store(over)
        beside = self._beside()
        unsent = over.mark is None and beside is None and is_ours
        # The folder may differ from the one in the store.
        if unsent or (beside is not None and beside.mark == over.mark):
            self._put(over)

    def withdraw(self) -> None:
        """Remove the file beside the output if it records no request."""
        with contextlib.suppress(Exception):
            account = self._parsed(self.folder.read(self.name), self.name)
            if account is not None and account.mark is None:
                self.folder.remove(self.name)

    def _beside(self) -> Account | None:
        return self._parsed(self._read(self.name), self.folder.asset_uri(self.name))

    def _read(self, name: str) -> bytes | None:
        return _ask("read", lambda: self.folder.read(name))

    def _put(self, account: Account) -> None:
        content = account.model_dump_json(indent=2).encode() + b"\n"
        _ask("written", lambda: self.folder.put(self.name, io.BytesIO(content), self.mark))

    def _store(self, account: Account) -> None:
        kept = account.model_dump(mode="json")
        if (store := self.store) is not None:
            _ask("written", lambda: store.set(KEY, kept, retention=self.never))

    def read_mark(self) -> str | None:
        """Return the folder's mark; None if it has none, like all folders of earlier versions."""
        raw = self._read(MARK)
        if raw is None:
            return None
        try:
            nonce = loads(raw)["nonce"]
        except (ValueError, TypeError, LookupError, RecursionError):
            nonce = None
        # If something else is there, its hash stands for it.
        return nonce if isinstance(nonce, str) and nonce else hashlib.sha256(raw).hexdigest()

    def ensure_mark(self) -> str:
        """Return the folder's mark; create it if there is none. Of several tries, one succeeds."""
        if (found := self.read_mark()) is not None:
            return found
        nonce = secrets.token_hex(16)
        content = json.dumps({"format": _MARK_FORMAT, "nonce": nonce}).encode() + b"\n"
        _ask("written", lambda: self.folder.create(MARK, content, self.mark))
        if (found := self.read_mark()) is not None:
            return found
        raise OxenStoreUnavailable(f"{self.folder.asset_uri(MARK)} was written, and is not there.")

    def read_summary(self) -> Account | None:
        """Return what the folder's summary says about this task; None if it is another's.

        An earlier version, or a batch whose images are all kept, may leave no other trace of a try.
        """
        raw = self._read(SUMMARY)
        try:
            summary = loads(raw or b"null")
            if any(summary[name] != value for name, value in self.identity._asdict().items()):
                return None
            return Account(
                identity=self.identity.key,
                folder=self.folder.asset_uri(""),
                series=summary.get("clearing", ""),
                clear_number=summary.get("clear_number"),
                over=summary.get("finished") is True and summary.get("failed") == summary.get("unknown") == 0,
            )
        except (ValueError, TypeError, LookupError, RecursionError):
            return None

    def _parsed(self, value: Any, where: str) -> Account | None:
        if value is None:
            return None
        try:
            account = Account.model_validate(loads(value) if isinstance(value, bytes | str) else value)
        except (ValueError, RecursionError) as error:
            raise _unfit(where, f" ({type(error).__name__})") from None
        if account.identity != self.identity.key:
            raise _unfit(where, ": it is another task's")
        return account


def _ask(done: str, ask: Callable[[], T]) -> T:
    return ask_store(done, ask, "This task's record of its batch")


def _unfit(where: str, why: str) -> OxenRecordError:
    return OxenRecordError(
        f"This task's record of its batch, {where}, cannot be used{why}.",
        money="Images may have been paid for.",
        remedy="Check on the hub what the task has generated; then delete the record and clear the task.",
    )
