"""The Images view of a run with 200 tasks, beside Airflow's own list of that run's task instances."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import httpx
from PIL import Image
from surroundings import PYTHON, ROOT, airflow_home

from airflow_provider_oxen.images.preview import LARGE, preview
from airflow_provider_oxen.tasks.facts import FACTS
from airflow_provider_oxen.tasks.xcoms import KEY

__all__ = ["figures"]

DAG, RUN, TASKS = "postcards", "bench", 200
LIMIT = 3
"""Times as long as Airflow's own list, measured in turn with it: both take longer on a busy machine."""

ROUNDS = 30
PATIENCE = 300
"""Seconds for Airflow to come up."""

PORT = 18_972


def figures() -> Iterator[tuple[str, str, str, str]]:
    with tempfile.TemporaryDirectory(prefix="oxen-bench-") as folder, _api(Path(folder)) as http:
        _fill(http)
        page = f"/oxen/images/{DAG}?run_id={RUN}"
        listed = f"/api/v2/dags/{DAG}/dagRuns/{RUN}/taskInstances?limit={TASKS}"
        took: dict[str, list[float]] = {page: [], listed: []}
        sizes = {path: len(http.get(path).raise_for_status().content) for path in took}
        if http.get(page).text.count("<img ") != TASKS:
            raise SystemExit("The page does not show what it must.")
        for _ in range(ROUNDS):
            for path, times in took.items():
                began = time.perf_counter()
                http.get(path).raise_for_status()
                times.append((time.perf_counter() - began) * 1000)
    ours, theirs = (statistics.median(times) for times in took.values())
    yield (
        f"the Images view of a run with {TASKS} tasks, {sizes[page] / 1e6:.1f} MB",
        f"{ours:.0f}",
        "ms",
        f"limit {LIMIT * theirs:.0f}, {LIMIT} times Airflow's list of its task instances: {theirs:.0f} ms, "
        f"{sizes[listed] / 1e6:.1f} MB",
    )


@contextmanager
def _api(folder: Path) -> Iterator[httpx.Client]:
    """Start an API server that knows the Dag and lets everybody in."""
    origin = f"http://127.0.0.1:{PORT}"
    env = airflow_home(
        folder / "airflow",
        ROOT / "benchmarks" / "gallery_dags",
        AIRFLOW__API__BASE_URL=origin,
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        PYTHONPATH=str(ROOT),
    )
    log = folder / "api.log"
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        done = subprocess.run([PYTHON, "-m", "airflow", *command], env=env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    serve = [PYTHON, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(PORT)]
    with log.open("w") as file:
        process = subprocess.Popen([*serve, "--workers", "1"], env=env, stdout=file, stderr=file)
        try:
            _wait_until_up(f"{origin}/api/v2/monitor/health", process, log)
            token = httpx.get(f"{origin}/auth/token").raise_for_status().json()["access_token"]
            # The page takes either; a browser has the cookie.
            with httpx.Client(
                base_url=origin, headers={"Authorization": f"Bearer {token}"}, timeout=60
            ) as http:
                yield http
        finally:
            process.terminate()
            process.wait(60)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(1)
    raise SystemExit(f"Airflow did not come up:\n{log.read_text()[-4000:]}")


def _fill(http: httpx.Client) -> None:
    """Make a run, and push for each of its tasks what an image of much detail would give."""
    run = {"dag_run_id": RUN, "logical_date": None}
    http.patch(f"/api/v2/dags/{DAG}", json={"is_paused": True}).raise_for_status()
    http.post(f"/api/v2/dags/{DAG}/dagRuns", json=run).raise_for_status()
    dice = random.Random(1)
    for number in range(TASKS):
        small = Image.frombytes("RGB", (24, 24), dice.randbytes(24 * 24 * 3))
        image = {
            "prompt": f"A red cube, number {number}",
            "model": "z-image-turbo",
            "seed": number,
            "cost": 0.01,
            "status": "generated",
            "width": 1024,
            "height": 1024,
            "bytes": 734_003,
            "path": f"s3://bucket/cards/{number}.webp",
            "request": {"image_size": "square_hd", "num_inference_steps": 8},
            "preview": preview(small.resize((1024, 1024), Image.Resampling.BICUBIC), LARGE),
        }
        entries = f"/api/v2/dags/{DAG}/dagRuns/{RUN}/taskInstances/card_{number:03}/xcomEntries"
        pushed = {"key": KEY, "value": {"total": 1, "images": [image]}}
        http.post(entries, json=pushed).raise_for_status()
        facts = {"total": 1, "generated": 1, "cost": 0.01, "cost_unknown": 0}
        http.post(entries, json={"key": FACTS, "value": facts}).raise_for_status()
    http.patch(f"/api/v2/dags/{DAG}/dagRuns/{RUN}", json={"state": "success"}).raise_for_status()


if __name__ == "__main__":
    for figure in figures():
        print(*figure, sep="  ", flush=True)
