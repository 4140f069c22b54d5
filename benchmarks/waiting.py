"""What waiting for thousands of generations costs an event loop, and the hub.

The real trigger class, in one loop of a process of its own, against a local hub in another, while 50 jobs end
every tick: with the hub's stream of events, and without it. Beside it triggers that each ask for themselves,
with a client each and one SSL context for all, which is how a trigger is usually written.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import httpx
from surroundings import ROOT, local_hub

NUMBERS = (1_000, 10_000)
TICK = 5.0
TICKS = 3
"""Ticks that are measured: the whole run is to stay under five minutes."""

MINUTE = 13
"""Ticks that are measured where lists are counted that are read once a minute."""

ENDING = 10
"""Jobs that end in a second: 50 a tick."""

PROMPT = ("A red cube on a white background, lit from the left. " * 10)[:500]
STREAM, LIST, ALONE = "with the stream", "by the list", "each for itself"


def figures() -> Iterator[tuple[str, str, str, str]]:
    for number in NUMBERS:
        measured = {kind: _measured(number, kind) for kind in (STREAM, LIST, ALONE)}
        for name, unit, limit in (
            ("hub finished to trigger fired, median", "s", "limit 0.5"),
            ("hub finished to trigger fired, maximum", "s", ""),
            ("list requests a minute", "requests", "limit 1"),
            ("hub requests a tick", "requests", "1 for each of the 50 jobs that end"),
            ("CPU, share of one core", "", "limit 0.5"),
            ("loop lag, p99.9", "ms", ""),
            ("loop lag, maximum", "ms", "limit 100"),
            ("loop lag while they start, maximum", "ms", "of the garbage collector"),
            ("memory growth", "MB", "limit 60"),
        ):
            ours, *others = (f"{kind}: {_shown(found[name])}" for kind, found in measured.items())
            limited = [limit] if limit and number == max(NUMBERS) else []
            value = ours.removeprefix(f"{STREAM}: ")
            yield f"{number:,} waiting, {name}", value, unit, "; ".join([*limited, *others])


def main() -> None:
    for name, value, unit, reference in figures():
        print(f"{name:<66} {value:>9} {unit:<8} {reference}", flush=True)


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _measured(number: int, kind: str) -> dict[str, float | None]:
    with local_hub() as connection:
        fields = json.loads(connection["AIRFLOW_CONN_OXEN_DEFAULT"])
        ticks = MINUTE if kind == STREAM and number == max(NUMBERS) else TICKS
        with httpx.Client(base_url=fields["host"], timeout=60) as hub:
            # Nothing is worked on before the measurement begins.
            settings = {"workers": 0, "latency": 1.0, "credits": 1_000_000.0}
            hub.patch("/_local/settings", json=settings).raise_for_status()
            headers = {"Authorization": f"Bearer {fields['password']}"}
            body = {"model": "z-image-turbo", "prompt": PROMPT, "num_generations": 4}
            ids: list[str] = []
            while len(ids) < number:
                answer = hub.post("/api/ai/queue", json=body, headers=headers).raise_for_status().json()
                ids += [row["generation_id"] for row in answer["generations"]]
            if kind == LIST:
                hub.post("/_local/faults", json=_no_stream()).raise_for_status()
            env = {**os.environ, **connection, "PYTHONWARNINGS": "ignore"}
            done = subprocess.run(
                [sys.executable, __file__, kind, fields["host"], str(ticks)],
                input=json.dumps(ids), env=env, cwd=ROOT, capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found = json.loads(done.stdout.splitlines()[-1])
            return _facts(found, hub.get("/_local/jobs").json(), hub.get("/_local/requests").json())


def _no_stream() -> dict[str, Any]:
    return {"kind": "status", "on": "events", "status": 404, "shape": "html", "times": None}


def _facts(
    found: dict[str, Any], jobs: list[dict[str, Any]], requests: list[dict[str, Any]]
) -> dict[str, float | None]:
    ended = {job["generation_id"]: job["completed_at"] for job in jobs if job["completed_at"]}
    late = [moment - ended[id] for id, moment in found["fired"].items()]
    asked = Counter(seen["path"] for seen in requests if seen["method"] == "GET")
    ticks = found["seconds"] / TICK
    return {
        "hub requests a tick": sum(asked.values()) / ticks,
        "list requests a minute": found["lists"],
        "CPU, share of one core": found["cpu"] / found["seconds"],
        "loop lag, p99.9": found["lags"][0] * 1000,
        "loop lag, maximum": found["lags"][1] * 1000,
        "loop lag while they start, maximum": found["lags"][2] * 1000,
        "memory growth": found["memory"],
        "hub finished to trigger fired, median": statistics.median(late) if late else None,
        "hub finished to trigger fired, maximum": max(late, default=None),
    }


async def _probe(kind: str, host: str, ids: list[str], ticks: int) -> dict[str, Any]:
    from airflow_provider_oxen.hooks.oxen import OxenHook
    from airflow_provider_oxen.triggers._base import loaded
    from airflow_provider_oxen.triggers.generations import OxenGenerationTrigger

    await loaded()
    settings = await OxenHook().asettings()
    fired: dict[str, float] = {}
    lags: list[float] = []

    async def run(id: str) -> None:
        trigger = OxenGenerationTrigger(id, poll_interval=TICK) if kind != ALONE else Alone(id, settings)
        async for _ in trigger.run():
            fired[id] = time.time()

    async def lag() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - before - 0.005)

    async def lists() -> int:
        requests = (await hub.get("/_local/requests")).json()
        return sum(seen["method"] == "GET" and seen["path"] == "/api/ai/queue" for seen in requests)

    async with httpx.AsyncClient(base_url=host, timeout=60) as hub:
        await hub.patch("/_local/settings", json={"workers": 0})
        memory = _memory()
        lagging = asyncio.create_task(lag())
        tasks = []
        for number, id in enumerate(ids):
            tasks.append(asyncio.create_task(run(id)))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await hub.patch("/_local/settings", json={"workers": ENDING})
        # What is set takes effect when somebody looks.
        await hub.get("/_local/settings")
        starting = len(lags)
        start, cpu = time.perf_counter(), time.process_time()
        # The first end has proved the stream by then.
        await asyncio.sleep(TICK)
        before = await lists()
        await asyncio.sleep(ticks * TICK - TICK + 1)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        lagging.cancel()
        waiting = sorted(lags[starting:])
        return {
            "fired": fired,
            "seconds": seconds,
            "lists": (await lists() - before) / (seconds - TICK) * 60,
            "cpu": cpu,
            "lags": [waiting[int(len(waiting) * 0.999)], waiting[-1], max(lags[:starting], default=0.0)],
            "memory": _memory() - memory,
        }


class Alone:
    """A trigger that asks for itself."""

    def __init__(self, id: str, settings: Any) -> None:
        self.id = id
        self.settings = settings

    async def run(self) -> AsyncIterator[str]:
        from airflow_provider_oxen.api import queue
        from airflow_provider_oxen.api.client import AsyncClient
        from airflow_provider_oxen.api.errors import OxenError

        async with AsyncClient(self.settings) as client:
            while True:
                await asyncio.sleep(TICK)
                try:
                    row = await client.send(queue.get_generation(self.id))
                except OxenError:
                    continue
                if row.status == "succeeded":
                    yield row.status
                    return


def _memory() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    if len(sys.argv) == 4:
        kind, host, ticks = sys.argv[1:]
        measured = asyncio.run(_probe(kind, host, json.load(sys.stdin), int(ticks)))
        print(json.dumps(measured), flush=True)
        # Ten thousand clients are not worth the wait for their end.
        os._exit(0)
    main()
