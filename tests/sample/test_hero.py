from pathlib import Path

from dags.hero import dag

from airflow_provider_oxen.localhub import Fault


def run(tmp_path):
    return dag.test(run_conf={"folder": f"{tmp_path}/"})


def test_the_picture_of_the_day_is_kept_and_paid_for_once(oxen_connection, tmp_path):
    assert run(tmp_path).state == "success"

    [paid] = oxen_connection.ledger()
    assert paid["prompt"].startswith("A red cube on a white background")
    [image] = Path(tmp_path).rglob("*.webp")
    assert image.stat().st_size > 0


def test_a_lost_answer_is_not_paid_for_twice(oxen_connection, tmp_path):
    oxen_connection.fail(Fault("drop_after"))

    assert run(tmp_path).state == "failed"
    assert len(oxen_connection.ledger()) == 1
