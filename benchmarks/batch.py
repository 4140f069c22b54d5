"""A thousand prompts, 64 at a time, beside the same as people write it themselves, and beside the ideal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from batch_ways import OPERATOR, Measured, measured
from hubs import Hub, quiet_hub

PROMPTS = 1_000
IN_FLIGHT = 64
LATENCY = 1.0
ROUNDS = 3
FEW = 50
"""Prompts of the way that is too slow for all of them."""

POLL = 1.0
"""Seconds between two looks at the queue."""

IDEAL = -(-PROMPTS // IN_FLIGHT) * LATENCY
OURS = {"max_in_flight": IN_FLIGHT, "use_queue": False}
QUEUE = {"max_in_flight": IN_FLIGHT, "use_queue": True, "poll_interval": POLL}


def figures() -> Iterator[tuple[str, str, str, str]]:
    with (
        quiet_hub(latency=LATENCY, at_once=IN_FLIGHT, workers=IN_FLIGHT) as hub,
        quiet_hub(latency=LATENCY) as other_hub,
        ThreadPoolExecutor(1) as beside,
    ):
        # Alternating, so that what else the machine does strikes both.
        pairs = [(_run(hub, OPERATOR, OURS), _run(hub, "syncing_asyncio")) for _ in range(ROUNDS)]
        # It waits for nearly all of its time, and so need not have the machine to itself.
        slow = beside.submit(_run, other_hub, "one_by_one", number=FEW)
        others = {
            "ThreadPoolExecutor(64) with requests": _run(hub, "thread_pool"),
            f"by the queue, poll interval {POLL:.0f} s": _run(hub, OPERATOR, QUEUE),
        }
        alone = slow.result().wall / FEW * PROMPTS
    ours, bare = ([pair[index] for pair in pairs] for index in (0, 1))
    what = f"{PROMPTS:,} prompts, {IN_FLIGHT} at a time"
    for name, limit, values in (
        ("wall clock", 1.05, [[one.wall for one in side] for side in (ours, bare)]),
        ("CPU", 1.20, [[one.cpu for one in side] for side in (ours, bare)]),
    ):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(*values, strict=True))
        mine, theirs = (statistics.median(side) for side in values)
        yield (
            f"{what}, {name}, over a bare httpx loop that syncs its files",
            f"{ratio:.2f}",
            "times",
            f"limit {limit:.2f}; medians {mine:.2f} s beside {theirs:.2f} s for {LATENCY:.0f} s of latency",
        )
    yield f"{what}, wall clock", f"{_wall(ours):.1f}", "s", f"ideal {IDEAL:.0f} s"
    for name, one in others.items():
        yield f"the same, {name}", f"{one.wall:.1f}", "s", _cpu(one, PROMPTS)
    yield "the same, one requests.post after the other", f"{alone:.0f}", "s", f"extrapolated from {FEW}"
    first = statistics.median(one.first for one in ours)
    beside = f"a bare httpx loop: {statistics.median(one.first for one in bare):.2f} s"
    yield "CPU of a process up to its first image, with all it loads", f"{first:.2f}", "s", beside


def _run(hub: Hub, way: str, arguments: dict[str, object] | None = None, number: int = PROMPTS) -> Measured:
    hub.reset()
    done = measured(way, hub, number, **(arguments or {}))
    # One more, before the clock started.
    if hub.billed() != number + 1:
        raise SystemExit(f"{way}: {hub.billed()} images were billed instead of {number + 1}.")
    return done


def _wall(runs: list[Measured]) -> float:
    return statistics.median(one.wall for one in runs)


def _cpu(one: Measured, number: int) -> str:
    return f"CPU {one.cpu / number * 1000:.1f} ms a prompt"


if __name__ == "__main__":
    for figure in figures():
        print(*figure, sep="  ", flush=True)
