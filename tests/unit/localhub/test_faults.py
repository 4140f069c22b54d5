from __future__ import annotations

import pytest

from airflow_provider_oxen.localhub import Fault
from airflow_provider_oxen.localhub.faults import Faults


def kinds(faults: Faults, requests: int, *arguments) -> list[str | None]:
    taken = [faults.take(*arguments) for _ in range(requests)]
    return [fault.kind if fault else None for fault in taken]


def test_faults_strike_in_the_order_told_and_are_used_up():
    faults = Faults()
    faults.add(Fault("status"), Fault("html", times=2))
    assert kinds(faults, 4, "generate", "arrived") == ["status", "html", "html", None]


def test_after_lets_the_first_pass():
    faults = Faults()
    faults.add(Fault("status", after=2))
    assert kinds(faults, 4, "generate", "arrived") == [None, None, "status", None]


def test_other_routes_stages_and_prompts_are_left_alone():
    faults = Faults()
    faults.add(Fault("status", on="models"), Fault("drop_after"), Fault("status", prompt="fox"))
    assert faults.take("generate", "arrived", "a whale") is None
    assert faults.take("file", "arrived") is None
    taken = [
        faults.take("generate", "arrived", "a fox"),
        faults.take("generate", "accepted"),
        faults.take("models", "arrived"),
    ]
    assert [(fault.kind, fault.on, fault.prompt) for fault in taken if fault] == [
        ("status", "generate", "fox"),
        ("drop_after", "generate", None),
        ("status", "models", None),
    ]


def test_what_is_still_to_come_is_told_as_it_stands():
    faults = Faults()
    faults.add(Fault("status", times=3, after=1))
    kinds(faults, 2, "generate", "arrived")
    [told] = faults.as_dicts()
    assert (told["kind"], told["after"], told["times"]) == ("status", 0, 2)


@pytest.mark.parametrize(
    ("arguments", "stage"),
    [
        ({"kind": "status"}, "arrived"),
        ({"kind": "status", "billed": True}, "accepted"),
        ({"kind": "hold"}, "accepted"),
        ({"kind": "truncated"}, "accepted"),
        ({"kind": "drop_before"}, "arrived"),
        ({"kind": "drop_after"}, "accepted"),
        ({"kind": "hold", "on": "file"}, "arrived"),
        ({"kind": "hold", "on": "enqueue"}, "accepted"),
        ({"kind": "hold", "on": "job"}, "arrived"),
        ({"kind": "status", "on": "enqueue"}, "arrived"),
        ({"kind": "status", "on": "enqueue", "billed": True}, "accepted"),
        ({"kind": "late", "on": "enqueue"}, "accepted"),
        ({"kind": "padded", "on": "file"}, "accepted"),
    ],
)
def test_stage_tells_whether_money_was_taken(arguments, stage):
    assert Fault(**arguments).stage == stage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "explode"}, "Input should be 'broken_json', .*input_value='explode'"),
        ({"kind": "status", "on": "moon"}, "Input should be 'generate', .*input_value='moon'"),
        ({"kind": "status", "shape": "round"}, "Input should be 'typed', .*input_value='round'"),
        ({"kind": "no_images", "on": "file"}, "no_images goes wrong on generate only, not on file"),
        ({"kind": "short"}, "short goes wrong on file only, not on generate"),
        ({"kind": "truncated", "on": "models"}, "truncated goes wrong on generate and enqueue and file"),
        ({"kind": "status", "on": "file", "billed": True}, "billed and prompt are for faults on generate"),
        ({"kind": "drop_after", "on": "job"}, "drop_after goes wrong on generate and enqueue only"),
        ({"kind": "hangs"}, "hangs goes wrong on enqueue only, not on generate"),
        ({"kind": "forgotten", "on": "enqueue", "billed": True}, "forgotten lets nothing be billed"),
        ({"kind": "status", "on": "file", "prompt": "x"}, "billed and prompt are for faults on generate"),
    ],
)
def test_fault_that_could_never_strike_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Fault(**arguments)
