"""One model says what an operator's arguments are; signature, docstring, templates and docs agree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.jobs.arguments import Arguments
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.arguments import GenerationArguments, ModelArguments
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor
from airflow_provider_oxen.tasks.arguments import ImageArguments

DOCS = Path(__file__).parents[3] / "docs"


class Face(NamedTuple):
    """An operator or a sensor.

    :ivar needed: what it cannot be made without.
    :ivar page: that documents it.
    :ivar table: of arguments on that page, from 0.
    """

    operator: Any
    model: type[Arguments]
    needed: dict[str, Any]
    page: str
    table: int = 0

    @property
    def own(self) -> list[str]:
        return [name for name in inspect.signature(self.operator).parameters if name != "kwargs"]

    def make(self, **arguments: Any) -> Any:
        return self.operator(task_id="hero", **{**self.needed, **arguments})


FACES = [
    Face(ImageGenerateOperator, ImageArguments, {"prompt": "A cube", "model": "x"}, "operators.md"),
    Face(
        ImageBatchGenerateOperator,
        BatchArguments,
        {"prompts": "/p", "storage_path": "/x"},
        "batches.md",
    ),
    Face(OxenModelSensor, ModelArguments, {"model": "x"}, "sensors.md"),
    Face(OxenGenerationSensor, GenerationArguments, {"generation_id": "x"}, "sensors.md", 1),
]
pytestmark = pytest.mark.parametrize("face", FACES, ids=lambda face: face.operator.__name__)


def documented(face: Face) -> list[tuple[str, str]]:
    """Return the arguments and their defaults, as the page's table has them."""
    tables = (DOCS / face.page).read_text().split("| argument | default | meaning |\n|---|---|---|\n")[1:]
    found: list[tuple[str, str]] = []
    for row in tables[face.table].split("\n\n")[0].splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        names = re.findall(r"`(\w+)`", cells[0])
        defaults = cells[1].split(",") if "," in cells[1] else [cells[1]] * len(names)
        found += zip(names, (default.strip().strip("`") for default in defaults), strict=True)
    return found


def test_signature_has_the_arguments_of_the_model(face):
    assert set(face.own) == {*face.model.names(), "deferrable"}


def test_defaults_of_the_signature_are_the_models(face):
    assert face.model.of(face.make()) == face.model.read({**face.needed, "deferrable": False})


def test_every_argument_but_deferrable_is_templated(face):
    assert list(face.operator.template_fields) == [name for name in face.own if name != "deferrable"]


def test_every_argument_is_kept_as_it_was_given(face):
    """A template must be rendered before anybody looks at it."""
    given: dict[str, Any] = {name: f"{{{{ {name} }}}}" for name in face.own}

    made = face.make(**given)

    assert {name: getattr(made, name) for name in face.own} == given


def test_every_argument_is_told_in_the_classs_documentation(face):
    assert re.findall(r":param (\w+):", face.operator.__doc__) == face.own


def test_every_argument_is_in_the_table_of_its_page(face):
    names = [name for name, _ in documented(face)]

    assert sorted(names) == sorted(face.own)


def test_defaults_of_the_table_are_the_models(face):
    defaults = {**face.model.of(face.make()).as_json(), "max_bytes": "256MiB"}
    told = {name: default.replace(" MiB", "MiB") for name, default in documented(face)}
    # In words: what depends on another argument, and what Airflow or the connection decides.
    exact = {name: default for name, default in told.items() if " " not in default}

    for name, default in exact.items():
        if default:
            found = defaults[name]
            assert default == (f"{found:g}" if isinstance(found, float) else str(found)), name
        else:
            assert name in face.needed or defaults[name] in (None, {}), name
