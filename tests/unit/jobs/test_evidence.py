"""A row of the lists is the job, may be it, or is another's."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.models import Generation
from airflow_provider_oxen.jobs.evidence import SKEW, is_another, look, send_conflict
from airflow_provider_oxen.jobs.record import Record

BODY = {"model": "m", "prompt": "A red cube"}
SEEDED = {**BODY, "seed": 7}
SENT = 1_000_000.0


def row(id: str = "g-1", **facts: Any) -> Generation:
    told = {"generation_id": id, "status": "processing", "model_name": "m", "prompt": "A red cube"}
    return Generation.model_validate({**told, "enqueued_at": SENT + 1, **facts})


def found(body: dict[str, Any], *rows: Generation, since: float | None = SENT, **options: Any) -> Any:
    """Return the ids of what is certain, and of what is possible."""
    seen = look(body, rows, since, **options)
    return [match.generation_id for match in seen.certain], [match.generation_id for match in seen.possible]


NEITHER: tuple[list[str], list[str]] = ([], [])
CERTAIN: tuple[list[str], list[str]] = (["g-1"], [])
POSSIBLE: tuple[list[str], list[str]] = ([], ["g-1"])


def test_seed_proves_it():
    assert found(SEEDED, row(seed=7)) == CERTAIN


def test_directory_proves_it():
    body = {**BODY, "target_directory": "airflow/mine"}

    assert found(body, row(target_directory="airflow/mine")) == CERTAIN
    assert found(body, row(target_directory="airflow/another's")) == NEITHER


def test_without_a_seed_nothing_proves_it():
    assert found(BODY, row()) == POSSIBLE


def test_row_that_leaves_out_what_would_prove_it_may_be_it():
    """Taken for another's, it would make the job absent, and paid for again."""
    assert found(SEEDED, row()) == POSSIBLE
    assert found(SEEDED, row(seed=None)) == POSSIBLE
    assert found({**BODY, "target_directory": "airflow/mine"}, row()) == POSSIBLE


@pytest.mark.parametrize(
    "facts",
    [{"seed": 8}, {"prompt": "A red ball"}, {"prompt": None, "model_name": "n"}],
    ids=str,
)
def test_row_that_tells_otherwise_is_anothers(facts):
    assert found({**SEEDED, "steps": 4}, row(**{"seed": 7, **facts})) == NEITHER


@pytest.mark.parametrize("facts", [{"model_name": "org/m"}, {"steps": 5}], ids=str)
def test_row_in_other_words_with_the_prompt_and_the_seed_is_no_proof_of_absence(facts):
    """Whose it is, nobody can tell: the hub may know a model, or a size, by several names."""
    body = {**SEEDED, "steps": 4}

    assert found(body, row(**{"seed": 7, **facts})) == POSSIBLE
    assert found({**BODY, "steps": 4}, row(**facts)) == POSSIBLE
    assert found(body, row(**{"seed": 7, **facts}), since=SENT + SKEW + 2) == NEITHER
    assert found(body, row(**{"seed": 7, **facts}), since=None) == NEITHER
    assert found({**body, "target_directory": "a"}, row(seed=7, target_directory="b", **facts)) == NEITHER


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        (1, 1.0),
        (1.0, 1),
        (4, "4"),
        ("16:9", "16:9"),
        (True, True),
        ({"width": 64, "height": 32}, {"height": 32.0, "width": "64"}),
        ([1, "a"], ["1", "a"]),
        ((1, 2), [1, 2]),
        ({"width": 64, "height": 32}, "64x32"),
    ],
    ids=str,
)
def test_parameter_may_be_echoed_in_another_type(sent, echoed):
    assert found({**SEEDED, "given": sent}, row(seed=7, given=echoed)) == CERTAIN


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        (1, 2),
        (4, "04"),
        ({"width": 64}, {"width": 65}),
        ({"width": 64}, {"width": 64, "height": 32}),
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        ({"width": 64}, [64]),
        ({"width": 64, "height": 32}, "32x64"),
    ],
    ids=str,
)
def test_parameter_that_is_echoed_otherwise_proves_nothing(sent, echoed):
    assert found({**SEEDED, "given": sent}, row(seed=7, given=echoed)) == POSSIBLE
    assert found({**SEEDED, "given": sent}, row(seed=7, given=echoed), since=None) == NEITHER


@pytest.mark.parametrize("facts", [{"model_name": None}, {"prompt": None}], ids=str)
def test_row_that_leaves_out_what_was_asked_for_may_be_it(facts):
    assert found(SEEDED, row(**{"seed": 7, **facts})) == POSSIBLE


@pytest.mark.parametrize("facts", [{"given": 5}, {"prompt": "A red c…"}, {"model_name": "org/m"}], ids=str)
def test_seed_that_nobody_else_has_is_no_proof_of_absence_in_other_words(facts):
    body, told = {**SEEDED, "given": 4}, row(**{"seed": 7, **facts})

    assert found(body, told, unique=True, since=None) == POSSIBLE
    assert found(body, told, since=None) == NEITHER
    assert found({**BODY, "given": 4}, told, unique=True, since=None) == NEITHER
    assert found({**body, "seed": 8}, told, unique=True) == NEITHER


def test_parameters_that_are_not_echoed_are_no_hindrance():
    assert found({**SEEDED, "steps": 4}, row(seed=7, quality="high")) == CERTAIN


def test_fields_that_a_row_tells_elsewhere_are_not_compared():
    body = {**SEEDED, "response_format": "b64_json", "target_namespace": "org"}

    assert found(body, row(seed=7, response_format="url", target_namespace="me")) == CERTAIN


def test_white_space_around_a_prompt_is_the_hubs_to_trim():
    assert found({**SEEDED, "prompt": " A red cube\n"}, row(seed=7)) == CERTAIN


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_older_row_of_the_seed_is_the_same_image_unless_it_gave_none(status):
    old = SENT - SKEW - 1

    assert found(SEEDED, row(seed=7, enqueued_at=old, status="succeeded")) == CERTAIN
    assert found(SEEDED, row(seed=7, enqueued_at=old, status=status)) == NEITHER
    assert found(SEEDED, row(seed=7, enqueued_at=old + 2, status=status)) == CERTAIN


def test_older_row_without_a_seed_is_anothers():
    assert found(BODY, row(enqueued_at=SENT - SKEW - 1)) == NEITHER
    assert found(BODY, row(enqueued_at=SENT - SKEW + 1)) == POSSIBLE


@pytest.mark.parametrize(("since", "enqueued_at"), [(None, 1.0), (SENT, None)], ids=["since", "enqueued"])
def test_time_that_is_not_known_excludes_nothing(since, enqueued_at):
    assert found(BODY, row(enqueued_at=enqueued_at), since=since) == POSSIBLE


def test_earlier_generations_of_the_task_are_not_the_job():
    assert found(SEEDED, row("g-0", seed=7), row("g-1", seed=7), past=["g-0"]) == CERTAIN


def test_row_in_two_lists_is_one_and_the_later_look_counts():
    seen = look(SEEDED, [row(seed=7), row(seed=7, status="succeeded")], SENT)

    assert [match.status for match in seen.certain] == ["succeeded"]


def test_best_is_the_newest_that_did_not_end_badly():
    rows = [
        row("old", seed=7, enqueued_at=SENT + 1),
        row("new", seed=7, enqueued_at=SENT + 5),
        row("failed", seed=7, enqueued_at=SENT + 9, status="failed"),
        row("timeless", seed=7, enqueued_at=None),
    ]

    best = look(SEEDED, rows, SENT).best

    assert best is not None
    assert best.generation_id == "new"


def test_best_is_one_that_ended_badly_where_there_is_no_other():
    best = look(SEEDED, [row(seed=7, status="cancelled")], SENT).best

    assert best is not None
    assert best.status == "cancelled"


def test_nothing_is_best_where_nothing_is_certain():
    assert look(BODY, [row()], SENT).best is None
    assert look(BODY, [], SENT) == ([], [])


@pytest.mark.parametrize(
    ("facts", "another"),
    [
        ({}, False),
        ({"prompt": "A pear", "seed": 8}, False),
        ({"model_name": None, "prompt": "A pear", "seed": 8}, False),
        ({"model_name": "org/m"}, False),
        ({"model_name": "n", "prompt": " A red cube\n", "seed": 8}, False),
        ({"model_name": "n", "prompt": "A pear", "seed": "7"}, False),
        ({"model_name": "n", "prompt": "A pear", "seed": 8}, True),
        ({"model_name": "n", "prompt": "A pear"}, True),
        ({"model_name": "n", "prompt": None}, True),
    ],
    ids=str,
)
def test_row_by_the_jobs_id_is_anothers_only_where_nothing_agrees(facts, another):
    """The hub gave the id for our very request: it must tell a lot to be doubted."""
    assert is_another(SEEDED, row(**facts)) is another


def test_seed_that_was_not_sent_proves_nothing():
    assert is_another(BODY, row(model_name="n", prompt="A pear", seed=7)) is True


# What is read last before the first byte is this very intent, or nothing is sent.

INTENT = Record(
    phase="intent",
    nonce="n-2",
    identity="mine",
    time=1.0,
    endpoint="queue",
    body={"model": "m", "prompt": "A red cube"},
    origin="https://hub.example",
    fingerprint="f",
)


def test_own_intent_leaves_no_send_conflict():
    assert send_conflict(INTENT, INTENT.to("intent", price=0.01)) is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "has disappeared"),
        (INTENT.to("intent", nonce="n-3"), "belongs to another try now (intent, a request for m)"),
        (INTENT.to("not_sent"), "belongs to another try now (not_sent"),
        (INTENT.to("submitted", generation_id="g-1"), "(submitted, a request for m, generation g-1)"),
    ],
    ids=["gone", "another's", "taken back", "sent"],
)
def test_anything_else_does(found, said):
    told = send_conflict(INTENT, found)

    assert told is not None
    assert said in told
