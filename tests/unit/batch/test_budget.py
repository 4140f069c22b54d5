"""What a batch has cost, and what it may cost."""

from __future__ import annotations

import pytest

from airflow_provider_oxen.api.errors import OxenBudgetError
from airflow_provider_oxen.batch.budget import Budget, Sums


def test_submissions_are_counted_before_they_go_out_and_corrected_by_what_was_charged():
    budget = Budget(1.0)
    budget.reserve(0.5)
    budget.settle(0.5, 0.2)
    budget.reserve(0.5)
    budget.release(0.5)

    assert budget.spent == pytest.approx(0.2)
    assert budget.in_words == "$0.20"


def test_what_would_cost_too_much_is_not_sent():
    budget = Budget(1.0)
    budget.at_least(Sums(spent=0.8, spent_unknown=0))
    budget.reserve(0.2)

    with pytest.raises(OxenBudgetError, match=r"has cost \$1.00 so far, the next image costs \$0.01"):
        budget.reserve(0.01)
    assert budget.in_words == "$1.00"


@pytest.mark.parametrize("charged", [0.2, 0.0, -7.0])
def test_no_charge_gives_back_what_may_be_spent(charged):
    budget = Budget(1.0)
    budget.reserve(0.5)
    budget.settle(0.5, charged)
    budget.reserve(0.5)

    with pytest.raises(OxenBudgetError):
        budget.reserve(0.5)


def test_charge_above_the_price_is_taken_from_what_may_be_spent():
    budget = Budget(1.0)
    budget.reserve(0.5)
    budget.settle(0.5, 0.8)

    with pytest.raises(OxenBudgetError):
        budget.reserve(0.5)


def test_what_nobody_knows_the_price_of_is_told():
    budget = Budget(None)
    budget.at_least(Sums(spent=0.5, spent_unknown=1))
    budget.reserve(None)
    assert budget.in_words == "at least $0.50"

    budget.settle(None, 0.1)
    budget.settle(None, 0.1)

    assert budget.in_words == "$0.70"


def test_what_was_charged_may_stay_unknown():
    budget = Budget(None)
    budget.reserve(0.1)
    budget.settle(0.1, None)

    assert budget.in_words == "$0.10"
