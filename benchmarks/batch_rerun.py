"""A second run over thousands of prompts whose images are all there: what it asks, and how long it takes."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from batch_ways import OPERATOR, measured
from hubs import quiet_hub

PROMPTS = 10_000
ARGUMENTS = {"max_in_flight": 16, "use_queue": False}
LIMIT = 10
MODEL = "GET /api/evaluations/models/z-image-turbo"


def figures(number: int = PROMPTS) -> Iterator[tuple[str, str, str, str]]:
    with (
        quiet_hub(default_size=[16, 16]) as hub,
        tempfile.TemporaryDirectory(prefix="oxen-bench-") as folder,
    ):
        made = measured(OPERATOR, hub, number, Path(folder), **ARGUMENTS)
        hub.reset()
        again = measured(OPERATOR, hub, number, Path(folder), cold=True, **ARGUMENTS)
        asked = Counter(f"{seen['method']} {seen['path']}" for seen in hub.requests())
    if again.result["reused"] != number or asked.keys() - {MODEL}:
        raise SystemExit(f"The rerun reused {again.result['reused']} of {number} and asked {dict(asked)}.")
    yield (
        f"a rerun over {number:,} finished prompts, with all it loads",
        f"{again.wall:.1f}",
        "s",
        f"limit {LIMIT}; CPU {again.cpu:.1f} s, {asked.total()} requests; the first run: {made.wall:.0f} s",
    )


if __name__ == "__main__":
    for figure in figures():
        print(*figure, sep="  ", flush=True)
