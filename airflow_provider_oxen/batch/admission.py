"""Admit a try to its folder, and keep its task's account: what was spent, and how the last try ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_oxen.api.errors import OxenError, OxenOutputExists
from airflow_provider_oxen.batch.account import Account, AccountStore, check_folder, clear_key_of
from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.batch.budget import Budget
from airflow_provider_oxen.batch.facts import BatchTry
from airflow_provider_oxen.tasks.beginning import has_sent_nothing
from airflow_provider_oxen.tasks.deferral import TaskOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

__all__ = ["Admission"]


@dataclass
class Admission:
    """Decides whether a try may send anything in its folder, and records what it spends there.

    :param operator: with its arguments rendered.
    """

    operator: TaskOperator
    context: Context
    options: BatchArguments
    this_try: BatchTry
    accounts: AccountStore
    budget: Budget
    _account: Account | None = field(default=None, init=False)

    def admit(self, *, anew: bool) -> Account:
        """Make sure that this is the folder in which the task has begun its batch, if it has.

        :param anew: whether a resumed try begins the folder again; it stays in the clearing that it has.
        :return: the account that the task has, and must keep from now on.
        :raises OxenError: if it is another folder, so that nothing may be sent.
        """
        this_try, accounts = self.this_try, self.accounts
        here, account = accounts.folder.asset_uri(""), accounts.read()
        # It may be lost, or an earlier version has written none.
        missing = account is None and this_try.try_number > 1
        summed = accounts.read_summary() if missing else None
        found = accounts.read_mark() if account and account.mark else None
        unsure = check_folder(
            account,
            found,
            here,
            begun=missing and summed is None and not has_sent_nothing(self.operator, self.context),
            on_unknown_outcome=self.options.on_unknown_outcome,
            on_changed_request=self.options.on_changed_request,
        )
        if not anew:
            this_try.clear_key = clear_key_of(this_try.clear_key, account or summed, this_try.clear_number)
        self._account = admitted = Account(
            identity=this_try.identity.key,
            folder=here,
            mark=found,
            unsure=unsure,
            series=this_try.clear_key,
            clear_number=this_try.clear_number,
            over=not this_try.tries_left,
        )
        if account is None:
            accounts.write(admitted)
        elif account.series == this_try.clear_key:
            self.budget.at_least(account)
        if unsure:
            self.operator.log.warning(
                "This is try %d, but %s has no trace of the tries before: they may have used another "
                "folder. Each prompt without an image here is looked up on the hub before it is sent.",
                this_try.try_number, here,
            )  # fmt: skip
        return admitted

    def readmit(self) -> None:
        """Read the account again, only for the sums: the record of the deferral has proved the folder."""
        with contextlib.suppress(OxenError):
            self._account = self.accounts.read()

    def begin(self, account: Account) -> None:
        """Record the folder and what was spent, before anything is sent."""
        self.this_try.check()
        self._account = self._summed(account, mark=self.accounts.ensure_mark())
        self.accounts.write(self._account)

    def sum_up(self, *, all_kept: bool = False, over: bool = False) -> None:
        """Record what was spent, and whether the task has its result."""
        if self._account is None:
            return
        self._account = account = self._summed(self._account, over=over or self._account.over)
        try:
            self.this_try.check()
            (self.accounts.close if all_kept else self.accounts.write)(account)
        except OxenError as error:
            self.operator.log.warning("%s", error.message)

    def _summed(self, account: Account, **more: Any) -> Account:
        sums = {
            "series": self.this_try.clear_key,
            "clear_number": self.this_try.clear_number,
            **self.budget.sums(),
        }
        return account.model_copy(update={**sums, **more})

    @contextmanager
    def noting_the_end(self) -> Iterator[None]:
        """After an error that Airflow does not retry, record that the next try follows a clearing."""
        try:
            yield
        except OxenError as error:
            if not error.retry_helps:
                with contextlib.suppress(OxenError):
                    self.this_try.check()
                    foreign = isinstance(error, OxenOutputExists)
                    self.accounts.mark_over(self.this_try.clear_number, is_ours=not foreign)
            raise
