"""Who is not the try that Airflow runs sends nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_oxen.api.errors import OxenOvertaken, OxenStoreUnavailable
from airflow_provider_oxen.tasks import running
from airflow_provider_oxen.tasks.running import LONGEST, Clocks, Running

newer = pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 3 asks its API server")
older = pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has the database")

NAMES: dict[str, Any] = {"dag_id": "d", "run_id": "r", "task_id": "t"}


class Supervisor:
    """Answers for one try of a task.

    :ivar gone: whether another try has taken its place.
    """

    def __init__(self) -> None:
        self.state: str | None = "running"
        self.error: Exception | None = None
        self.asked = 0
        self._thread_lock = object()

    def task(self, map_index: int = -1) -> Any:
        def states(**asked: Any) -> Any:
            self.asked += 1
            assert asked == {"dag_id": "d", "map_index": map_index, "task_ids": ["t"], "run_ids": ["r"]}
            return {"r": {"t" if map_index < 0 else f"t_{map_index}": self.state}}

        from uuid import uuid4

        return SimpleNamespace(**NAMES, map_index=map_index, id=uuid4(), get_task_states=states)

    def send(self, message: Any) -> Any:
        if self.error:
            raise self.error


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    from airflow.sdk.execution_time import task_runner

    found = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", found, raising=False)
    return found


def refusal(status: int) -> Exception:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse

    detail = {"status_code": status, "message": "Task Instance not found"}
    return AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


@newer
@pytest.mark.parametrize("map_index", [-1, 3])
def test_running_try_goes_on(supervisor, map_index):
    Running(supervisor.task(map_index)).check()

    assert supervisor.asked == 1


@newer
@pytest.mark.parametrize("state", ["failed", "up_for_retry", "queued", "restarting", None])
def test_try_in_another_state_does_not(supervisor, state):
    supervisor.state = state

    with pytest.raises(OxenOvertaken, match=f"its state is {state}"):
        Running(supervisor.task()).check()


@newer
def test_try_beside_its_running_successor_does_not(supervisor):
    """The API server knows no more of its id than that it was archived."""
    supervisor.error = refusal(404)

    with pytest.raises(OxenOvertaken, match="another try of the task is running"):
        Running(supervisor.task()).check()


@newer
def test_answer_that_does_not_come_is_no_leave(supervisor):
    supervisor.error = refusal(500)

    with pytest.raises(OxenStoreUnavailable, match="Airflow could not say whether") as caught:
        Running(supervisor.task()).check()

    assert caught.value.retry_helps


@newer
def test_thread_asks_only_where_airflow_keeps_apart_what_threads_ask(supervisor):
    with ThreadPoolExecutor(1) as thread:
        thread.submit(Running(supervisor.task()).check).result()
        assert supervisor.asked == 1

        del supervisor._thread_lock
        thread.submit(Running(supervisor.task()).check).result()
        assert supervisor.asked == 1

    # pytest runs the test in the main thread.
    Running(supervisor.task()).check()
    assert supervisor.asked == 2


@newer
def test_outside_a_worker_nobody_can_be_asked(supervisor, monkeypatch):
    from airflow.sdk.execution_time import task_runner

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS")

    Running(supervisor.task()).check()

    assert supervisor.asked == 0


def test_what_is_no_task_instance_cannot_be_asked_for():
    Running(SimpleNamespace(**NAMES)).check()


@older
@pytest.mark.parametrize(
    ("found", "said"),
    [
        (("running", 2, 7), None),
        (("running", 2, None), None),
        (("up_for_retry", 2, 7), "its state is up_for_retry"),
        (("running", 3, 8), "another try of the task is running"),
        (("running", 2, 8), "another try of the task is running"),
        (None, "it is no longer known"),
    ],
    ids=["same", "no job", "state", "try", "job", "gone"],
)
def test_database_tells(monkeypatch, found, said):
    from contextlib import contextmanager

    from airflow.utils import session

    class Query:
        def query(self, *columns: Any) -> Query:
            return self

        def filter_by(self, **names: Any) -> Query:
            assert names == {**NAMES, "map_index": -1}
            return self

        def one_or_none(self) -> Any:
            return found

    @contextmanager
    def create_session() -> Iterator[Query]:
        yield Query()

    monkeypatch.setattr(session, "create_session", create_session)
    ti = SimpleNamespace(**NAMES, map_index=-1, try_number=2, job_id="7", refresh_from_db=None)

    if said is None:
        Running(ti).check()
    else:
        with pytest.raises(OxenOvertaken, match=said):
            Running(ti).check()


def test_answer_is_shared_for_so_many_seconds_from_the_question_on(monkeypatch):
    asked: list[Any] = []
    now = Clocks(1_000.0, 50.0)
    monkeypatch.setattr(running, "_problem", asked.append)
    monkeypatch.setattr(running, "clocks", lambda: now)
    shared = Running("task", seconds=1.0)

    for seconds, times in [(0.0, 1), (0.9, 1), (1.1, 2), (1.5, 2)]:
        now = Clocks(1_000.0 + seconds, 50.0 + seconds)
        shared.check()
        assert len(asked) == times
    now = Clocks(5_000.0, 51.6)
    shared.check()
    assert len(asked) == 3, "a clock that has jumped makes old answers worthless"


def test_answer_that_is_to_last_is_asked_for_sooner_and_holds_up_nobody(monkeypatch):
    asked: list[float] = []
    now = Clocks(1_000.0, 50.0)
    monkeypatch.setattr(running, "clocks", lambda: now)
    shared = Running("task", seconds=1.0)

    def answer(ti: Any) -> None:
        asked.append(now.boot)
        if len(asked) > 1:
            # While it is asked anew, the last answer does for who needs it now.
            shared.check()

    monkeypatch.setattr(running, "_problem", answer)
    shared.check(lasting=0.5)
    for seconds, times in [(0.4, 1), (0.6, 2), (1.0, 2), (1.2, 3)]:
        now = Clocks(1_000.0 + seconds, 50.0 + seconds)
        shared.check(lasting=0.5)
        assert len(asked) == times


def test_who_waited_while_another_asked_does_not_ask_again(monkeypatch):
    asked: list[Any] = []
    seen: list[bool] = []
    monkeypatch.setattr(running, "_problem", asked.append)
    real = Running._is_known

    def known(self: Running, now: Clocks, lasting: float) -> bool:
        # Not yet at the first look; by the second one, the other is back.
        seen.append(len(seen) > 0 or real(self, now, lasting))
        return seen[-1]

    monkeypatch.setattr(Running, "_is_known", known)
    Running("task", seconds=1.0).check()

    assert (seen, asked) == ([False, True], [])


@pytest.mark.parametrize(
    ("wall", "boot", "jumped"),
    [
        (0.0, 0.0, False),
        (LONGEST, LONGEST, False),
        (LONGEST + 1, 1.0, True),
        (1.0, LONGEST + 1, True),
        (-30.0, 1.0, True),
        (float("nan"), 1.0, True),
    ],
)
def test_either_clock_tells_that_a_process_was_stopped(wall, boot, jumped):
    assert Clocks(100.0 + wall, 5.0 + boot).have_jumped(Clocks(100.0, 5.0)) is jumped


def test_clocks_go_forward():
    first = running.clocks()

    assert not running.clocks().have_jumped(first)
