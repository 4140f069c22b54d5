"""What one batch has to itself: as one image has, with a file or a list of prompts."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from tests.chaos.batches import IN_FLIGHT, PROMPTS, BatchRow
from tests.chaos.scene import LONG_WORK, Scene

SIDE = 256
"""Pixels of an image's sides: there are hundreds of them to be drawn."""

WORK, LONGER_WORK = 1.0, 3.0
"""Seconds that the hub works on a job, and on one that is struck in a worker that polls."""


class BatchScene(Scene):
    """A batch's surroundings."""

    row: BatchRow

    def __enter__(self) -> BatchScene:
        super().__enter__()
        (self.place / "prompts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in self.prompts))
        return self

    def _settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"default_size": (SIDE, SIDE)}
        if self.row.mode == "sync":
            return settings | {"latency": 0.5, "history_shows_generate": self.row.history}
        longer = LONG_WORK if self.row.mode == "deferrable" else LONGER_WORK
        latency = longer if self.row.instant == "polling" else WORK
        return settings | {"queue_wait": 0.2, "latency": latency}

    @cached_property
    def prompts(self) -> list[dict[str, str]]:
        """The rows of the input."""
        return [{"id": f"p{n:02}", "prompt": f"{n} red cubes, {self.row.id}"} for n in range(1, PROMPTS + 1)]

    def table_entry(self) -> dict[str, Any]:
        # A task that asks synchronously has them from a list, one that uses the queue from a file.
        prompts = self.prompts if self.row.mode == "sync" else str(self.place / "prompts.jsonl")
        return super().table_entry() | {"prompts": prompts}

    def _arguments(self) -> dict[str, Any]:
        return super()._arguments() | {"max_in_flight": IN_FLIGHT, "on_error": self.row.on_error}

    def id_of(self, prompt: str) -> str:
        """Return the id of a prompt."""
        return next(line["id"] for line in self.prompts if line["prompt"] == prompt)

    def billed(self) -> list[str]:
        """Return the ids of the prompts whose images are billed, one for each image."""
        return [self.id_of(entry["prompt"]) for entry in self.hub.ledger()]

    def accepted_by(self, moment: float) -> set[str]:
        """Return the ids of the prompts that the hub had accepted.

        :param moment: unix seconds.
        """
        if self.row.mode == "sync":
            return {self.id_of(entry["prompt"]) for entry in self.hub.ledger() if entry["time"] <= moment}
        return {self.id_of(job["request"]["prompt"]) for job in self.jobs() if job["enqueued_at"] <= moment}
