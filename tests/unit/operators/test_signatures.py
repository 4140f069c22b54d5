"""One model says what an operator's arguments are; signature, docstring, templates and docs agree."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from airflow_provider_oxen.batch.arguments import BatchArguments
from airflow_provider_oxen.jobs.arguments import Arguments
from airflow_provider_oxen.operators.batch import ImageBatchGenerateOperator
from airflow_provider_oxen.operators.images import ImageGenerateOperator
from airflow_provider_oxen.sensors.generations import OxenGenerationSensor
from airflow_provider_oxen.sensors.models import OxenModelSensor
from airflow_provider_oxen.tasks.arguments import GenerationArguments, ImageArguments, ModelArguments

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("tables_of_arguments", ROOT / "scripts" / "arguments.py")
assert _spec
assert _spec.loader
arguments = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(arguments)


class Face(NamedTuple):
    """An operator or a sensor.

    :ivar needed: what it cannot be made without.
    :ivar page: that documents it.
    """

    operator: Any
    model: type[Arguments]
    needed: dict[str, Any]
    page: str

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
    Face(OxenGenerationSensor, GenerationArguments, {"generation_id": "x"}, "sensors.md"),
]
pytestmark = pytest.mark.parametrize("face", FACES, ids=lambda face: face.operator.__name__)


def text_of(face: Face) -> str:
    return (ROOT / "docs" / face.page).read_text()


def mark(face: Face) -> str:
    """Return what stands above the table of arguments in a page."""
    names = (f"{found.__module__}.{found.__qualname__}" for found in (face.operator, face.model))
    return f"<!-- arguments: {' '.join(name.partition('.')[2] for name in names)} -->\n"


def documented(face: Face) -> dict[str, tuple[str, str]]:
    """Return the arguments, each with its default and its meaning, as the page's table has them."""
    table = text_of(face).partition(mark(face))[2].partition("<!-- /arguments -->")[0]
    rows = table.splitlines()[2:]
    cells = ([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows)
    return {name.strip("`"): (default, meaning) for name, default, meaning in cells}


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


def test_the_page_has_the_table_of_the_arguments(face):
    text = text_of(face)

    assert text.count(mark(face)) == 1
    assert text == arguments.renewed(text), "python scripts/arguments.py renews it"


def test_every_argument_is_in_the_table_with_a_meaning(face):
    table = documented(face)

    assert list(table) == face.own
    assert all(meaning[0] in "`{" or not meaning[0].islower() for _, meaning in table.values())


def test_defaults_of_the_table_are_the_models(face):
    defaults = {**face.model.of(face.make()).as_json(), "max_bytes": "256 MiB"}

    for name, (told, _) in documented(face).items():
        if told == "*required*":
            assert name in face.needed
        elif told == "`None`":
            assert name == "deferrable" or defaults[name] in (None, {}), name
        elif told not in ("*configured*", "*depends*"):
            found = defaults[name]
            assert told.strip("`") == (f"{found:g}" if isinstance(found, float) else str(found)), name


def test_a_default_from_the_configuration_is_not_shown_as_a_value(face):
    """It would be that of the machine that has made the table."""
    source = inspect.getsource(face.operator.__init__)

    for name, (told, _) in documented(face).items():
        from_elsewhere = re.search(rf"\b{name}: [^\n]+ = (?:\w+\.\w+\(|_)", source)
        assert (told == "*configured*") == bool(from_elsewhere), name
