"""What the Images view can be about: images, none, some under way, and some that failed.

The tests' hub lets a job hang whose prompt has the word *slow*, and fail where it has the word *broken*.
"""

from __future__ import annotations

import os

from airflow.providers.common.compat.sdk import dag, task

from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator

OUTPUT = os.environ["OXEN_EXAMPLES_OUTPUT"]
PLACES = ("harbour", "lighthouse", "market", "mill")
ANIMALS = ("fox", "heron", "whale")


def towns(season: str, places: tuple[str, ...], **arguments: object) -> None:
    ImageGenerateOperator.partial(
        task_id="town",
        model="z-image-turbo",
        seed=11,
        storage_path=f"{OUTPUT}/{season}/",
        **arguments,
    ).expand(prompt=[f"A postcard of a {place} in {season}, flat colours" for place in places])


@dag(schedule=None)
def postcards():
    towns("spring", PLACES, use_queue=True)
    ImageBatchGenerateOperator(
        task_id="animals",
        prompts=[{"id": name, "prompt": f"An origami {name} on a wooden table"} for name in ANIMALS],
        model="z-image-turbo",
        seed=7,
        storage_path=f"{OUTPUT}/animals/",
    )


@dag(schedule=None)
def postcards_under_way():
    towns("autumn", ("harbour", "slow river"), deferrable=True)


@dag(schedule=None)
def postcards_failed():
    towns("winter", ("harbour", "broken bridge"), use_queue=True)
    ImageBatchGenerateOperator(
        task_id="birds",
        prompts=[{"id": name, "prompt": f"A paper {name} in the snow"} for name in ("wren", "broken owl")],
        model="z-image-turbo",
        seed=5,
        use_queue=True,
        on_error="continue",
        storage_path=f"{OUTPUT}/birds/",
    )


@dag(schedule=None)
def no_postcards():
    @task
    def look_around() -> str:
        return "nothing to draw"

    look_around()


postcards()
postcards_under_way()
postcards_failed()
no_postcards()
