"""The pace of a batch: pure decisions, with times given; and threads that keep to them."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_oxen.batch.limits import PATIENCE, RUN, Gate, NotSent, Pace


class TestPace:
    """Seconds and outcomes in, seconds out."""

    def test_as_many_go_at_once_as_may(self):
        pace = Pace(2)

        assert [pace.wait(0, under_way) for under_way in (0, 1, 2)] == [0, 0, None]

    def test_requests_keep_their_distance(self):
        pace = Pace(8, apart=2)
        pace.sent(10)

        assert pace.wait(10, 0) == 2
        assert pace.wait(11.5, 0) == 0.5
        assert pace.wait(12, 0) == 0

    def test_rate_is_kept_where_requests_are_late(self):
        pace = Pace(8, apart=2)
        pace.sent(10)
        pace.sent(17)

        assert pace.wait(17, 0) == 2

    def test_429_closes_for_all_and_halves_what_may_go_at_once(self):
        pace = Pace(8)

        assert pace.came("limited", 0, 1, retry_after=5) == 5
        assert pace.wait(1, 0) == 5
        assert pace.wait(6, 3) == 0
        assert pace.wait(6, 4) is None

    def test_429_without_a_time_waits_a_little(self):
        pace = Pace(8)
        pace.came("limited", 0, 1)

        assert 0 < (pace.wait(1, 0) or 0) < 10

    @pytest.mark.parametrize("asked", [0.0, 0.001, None])
    def test_hub_that_says_come_at_once_is_no_reason_to_flood_it(self, asked):
        pace, now, sent = Pace(16), 0.0, 0
        while now < 60:
            wait = pace.wait(now, 0)
            if wait:
                now += wait
                continue
            going = min(30, max(1, int(pace.width)))
            sent += going
            for _ in range(going):
                pace.sent(now)
            for _ in range(going):
                pace.came("limited", now, now + 0.01, retry_after=asked)
            now += 0.01

        assert sent <= 40

    def test_floor_is_low_again_once_something_was_accepted(self):
        pace = Pace(1)
        told = []
        for number in range(4):
            now = 1000.0 * number
            told.append(pace.came("limited", now, now + 1, retry_after=0))
        pace.came("accepted", 4000, 4001)

        assert told == [0.5, 1, 2, 4]
        assert pace.came("limited", 5000, 5001, retry_after=3) == 3
        assert pace.wait(5001, 0) == 3

    def test_many_429_that_were_under_way_count_as_one(self):
        pace = Pace(8)
        told = [pace.came("limited", 0, 1 + number / 10, retry_after=5) for number in range(4)]

        assert told == [5, 0, 0, 0]
        assert pace.width == 4

    def test_it_recovers_by_one_for_each_round_that_is_accepted(self):
        pace = Pace(8)
        pace.came("limited", 0, 1, retry_after=1)

        for _ in range(5):
            pace.came("accepted", 3, 4)
        assert 5 <= pace.width < 6
        for _ in range(100):
            pace.came("accepted", 3, 4)
        assert pace.width == 8

    def test_one_failure_is_bad_luck(self):
        pace = Pace(8)

        assert pace.came("failed", 0, 1) == 0
        assert pace.wait(1, 0) == 0

    def test_run_of_failures_pauses_and_then_one_request_probes(self):
        pace = Pace(8)
        pauses = [pace.came("failed", 0, 1) for _ in range(RUN)]

        assert pauses[:-1] == [0] * (RUN - 1)
        assert pauses[-1] > 0
        later = 1 + pauses[-1]
        assert pace.wait(later, 0) == 0
        assert pace.wait(later, 1) is None

    def test_pauses_grow_up_to_a_limit_while_the_probes_fail(self):
        pace, now, pauses = Pace(8), 0.0, []
        for _ in range(RUN - 1):
            pace.came("failed", now, now)
        for _ in range(8):
            pauses.append(pace.came("failed", now, now + 1))
            now += 1 + pauses[-1]

        assert pauses == [5, 10, 20, 40, 80, 120, 120, 120]

    def test_what_was_under_way_when_it_closed_tells_nothing_new(self):
        pace = Pace(8)
        for _ in range(RUN):
            pace.came("failed", 0, 1)

        assert pace.came("failed", 0, 2) == 0
        assert pace.pauses == 1

    def test_answer_opens_it_again(self):
        pace = Pace(8)
        for _ in range(RUN):
            pace.came("failed", 0, 1)
        pace.came("refused", 10, 11)

        assert pace.pauses == 0
        assert pace.wait(11, 7) == 0

    def test_time_that_the_hub_asks_for_beside_a_failure_is_kept(self):
        pace = Pace(8)
        pace.came("failed", 0, 1, retry_after=7)

        assert pace.wait(1, 0) == 7

    def test_nothing_accepted_for_too_long_is_hopeless(self):
        pace = Pace(8)
        pace.came("limited", 0, 1)
        assert not pace.is_hopeless(PATIENCE)
        for now in range(30, int(PATIENCE) + 1, 30):
            pace.came("limited", now - 1, now)
        assert pace.is_hopeless(PATIENCE + 1)
        pace.came("accepted", PATIENCE, PATIENCE + 1)
        assert not pace.is_hopeless(PATIENCE + 2)

    def test_time_in_which_nothing_was_tried_tells_nothing(self):
        pace = Pace(8)
        pace.came("failed", 0, 1)
        pace.came("failed", PATIENCE + 60, PATIENCE + 61)

        assert not pace.is_hopeless(PATIENCE + 61)

    def test_pause_that_the_hub_asked_for_counts(self):
        pace = Pace(8)
        pace.came("limited", 0, 1, retry_after=PATIENCE - 10)
        pace.came("limited", PATIENCE - 9, PATIENCE - 8, retry_after=20)

        assert pace.is_hopeless(PATIENCE - 8)

    def test_time_that_is_too_long_is_hopeless_at_once(self):
        pace = Pace(8)
        pace.came("limited", 0, 1, retry_after=PATIENCE + 1)

        assert pace.is_hopeless(1)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def gate(told: list[str]) -> Gate:
    return Gate(Pace(2), told.append, Clock())


@pytest.mark.asyncio
class TestGate:
    """Rows that wait for their turn."""

    async def test_who_comes_back_lets_the_next_through(self, gate):
        first, _ = await gate.enter(), await gate.enter()
        entered = asyncio.create_task(gate.enter())
        await asyncio.sleep(0.01)

        assert not entered.done()
        gate.leave(first, "accepted")
        assert await entered == 0

    @pytest.mark.parametrize("counted", [Gate.admit, Gate.arrive])
    async def test_hub_works_on_no_more_rows_until_one_departs(self, gate, counted):
        await gate.admit()
        if counted is Gate.admit:
            await gate.admit()
        else:
            # Its job was sent by an earlier try.
            gate.arrive()
        admitted = asyncio.create_task(gate.admit())
        await asyncio.sleep(0.01)

        assert not admitted.done()
        gate.depart()
        await asyncio.wait_for(admitted, 10)

    async def test_row_at_the_hub_sends_again_although_others_wait_for_its_place(self, gate):
        for _ in range(2):
            await gate.admit()
            gate.leave(await gate.enter(), "failed")
        waiting = asyncio.create_task(gate.admit())
        await asyncio.sleep(0.01)

        assert await asyncio.wait_for(gate.enter(), 10) == 0
        waiting.cancel()

    async def test_all_who_wait_for_a_place_are_told_that_it_closes(self, gate):
        for _ in range(2):
            await gate.admit()
        waiting = [asyncio.create_task(gate.admit()) for _ in range(2)]
        await asyncio.sleep(0.01)

        gate.close("the task is stopped")

        assert all(isinstance(one, NotSent) for one in await asyncio.gather(*waiting, return_exceptions=True))

    async def test_rows_go_through_in_the_order_in_which_they_came(self, gate):
        under_way = [await gate.enter(), await gate.enter()]
        order: list[int] = []

        async def enter(number: int) -> None:
            await gate.enter()
            order.append(number)

        waiting = [asyncio.create_task(enter(number)) for number in range(2)]
        for moment in under_way:
            await asyncio.sleep(0)
            gate.leave(moment, "accepted")
        await asyncio.gather(*waiting)

        assert order == [0, 1]

    async def test_time_that_is_to_pass_is_waited_for(self, told):
        gate = Gate(Pace(2, apart=0.05), told.append)
        first, second = await gate.enter(), await gate.enter()

        assert second - first >= 0.05

    async def test_what_was_not_sent_after_all_gives_its_place_back(self, gate):
        await gate.enter()
        gate.leave(await gate.enter(), None)

        assert await gate.enter() == 0

    async def test_closed_gate_lets_nobody_through_and_says_why(self, gate):
        gate.close("the credits ran out")
        gate.close("another reason")

        with pytest.raises(NotSent, match=r"Not sent: the credits ran out\.") as caught:
            await gate.enter()
        assert caught.value.spent == "no"
        assert caught.value.retry_helps

    async def test_all_who_wait_are_told_that_it_closes(self, gate):
        await gate.enter(), await gate.enter()
        waiting = [asyncio.create_task(gate.enter()) for _ in range(2)]
        await asyncio.sleep(0.01)

        gate.close("the task is stopped")

        assert all(isinstance(one, NotSent) for one in await asyncio.gather(*waiting, return_exceptions=True))

    async def test_people_are_told_of_each_change_once(self, gate, told):
        entered = [await gate.enter(), await gate.enter()]
        for moment in entered:
            gate.leave(moment, "limited", 30)

        assert told == [
            "The hub asks for fewer requests: the batch waits 30 s, then continues with 1 at once."
        ]

    async def test_people_are_told_of_a_hub_that_is_broken(self, gate, told):
        for _ in range(RUN):
            gate.leave(await gate.enter(), "failed")

        assert told == ["The hub keeps failing: the batch waits 5 s, then continues with 1 at once."]

    async def test_hopeless_hub_closes_it(self, gate):
        gate.leave(await gate.enter(), "limited", PATIENCE + 1)

        assert gate.why == "the hub accepts nothing for 10 minutes or longer"
