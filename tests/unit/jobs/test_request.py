"""Arguments become the exact body, or are refused before anything is sent; the same request has one name."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.models import GenerateRequest
from airflow_provider_oxen.catalogue.values import SEED_LIMIT
from airflow_provider_oxen.jobs.request import RESERVED, RequestArguments, fingerprint, settle

KEY = "ae4d78e1a7aecede361d9a58ffa0d833753a732990c37bae6392d8a40522042b"
SCHEMA = {"properties": {"seed": {"type": "integer", "maximum": 1000}, "steps": {"type": "integer"}}}


def read(**given: Any) -> GenerateRequest:
    return RequestArguments.read({"prompt": "A red cube", "model": "z-image-turbo", **given}).request()


def body(**given: Any) -> dict[str, Any]:
    """Return what is in the body beside prompt and model."""
    whole = read(**given).body()
    return {name: value for name, value in whole.items() if name not in ("prompt", "model")}


def problem(**given: Any) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        read(**given)
    assert caught.value.spent == "no"
    assert not caught.value.retry_helps
    return caught.value.message


def name(**given: Any) -> str:
    return fingerprint(read(**given))


class TestReading:
    """What was rendered gets its types."""

    def test_nothing_is_sent_that_was_not_set(self):
        assert read().body() == {
            "model": "z-image-turbo",
            "prompt": "A red cube",
            "response_format": "url",
        }

    @pytest.mark.parametrize("nothing", [None, "", "None", "null", " None "], ids=repr)
    def test_what_renders_to_nothing_is_unset(self, nothing):
        assert body(
            response_format=nothing,
            image_size=nothing,
            num_inference_steps=nothing,
            seed=nothing,
            target_namespace=nothing,
            model_params=nothing,
        ) == {"response_format": "url"}

    def test_prompt_is_sent_as_it_is_and_the_model_without_space_around_it(self):
        request = read(prompt="  A red\n cube ", model=" z-image-turbo\n")

        assert (request.prompt, request.model) == ("  A red\n cube ", "z-image-turbo")

    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            ({"response_format": "b64_json"}, {"response_format": "b64_json"}),
            ({"image_size": " square_hd "}, {"image_size": "square_hd"}),
            ({"image_size": {"width": 64, "height": 32}}, {"image_size": {"width": 64, "height": 32}}),
            ({"image_size": {"height": "32", "width": 64.0}}, {"image_size": {"width": 64, "height": 32}}),
            (
                {"image_size": ' {"width": 64, "height": "32"}'},
                {"image_size": {"width": 64, "height": 32}},
            ),
            ({"num_inference_steps": "4"}, {"num_inference_steps": 4}),
            ({"num_inference_steps": 4.0}, {"num_inference_steps": 4}),
            ({"seed": "0"}, {"seed": 0}),
            ({"seed": "42.0"}, {"seed": 42}),
            ({"seed": 2**63}, {"seed": 2**63}),
            ({"target_namespace": " my-org "}, {"target_namespace": "my-org"}),
            ({"model_params": {"a": "4", "b": None, "c": [None]}}, {"a": "4", "c": [None]}),
            ({"model_params": '{"a": {"b": 1}}'}, {"a": {"b": 1}}),
        ],
        ids=str,
    )
    def test_argument_goes_into_the_body_with_its_type(self, given, sent):
        assert body(**given) == {"response_format": "url", **sent}

    @pytest.mark.parametrize("prompt", [None, "", "   ", "\n", "None", "null"], ids=repr)
    def test_empty_prompt_is_refused_in_one_sentence(self, prompt):
        assert problem(prompt=prompt) == f"prompt must be a text that says what to draw, not {prompt!r}."

    @pytest.mark.parametrize("name", ["prompt", "model"])
    @pytest.mark.parametrize("number", [2024, 0.5, 100000.0, float("nan")], ids=repr)
    def test_number_of_a_native_template_is_refused_for_its_text_is_lost(self, name, number):
        # 100000.0 was "1e5", perhaps, and 2024 "2_024" or "0x7E8".
        told = problem(**{name: number})
        assert told.startswith(f"{name} is the number {number!r}, not text")
        assert "Add a word to it" in told

    @pytest.mark.parametrize("prompt", [["A red cube"], {"a": 1}, b"A red cube", False], ids=repr)
    def test_prompt_of_another_type_is_refused(self, prompt):
        assert problem(prompt=prompt) == (f"prompt must be a text that says what to draw, not {prompt!r}.")

    @pytest.mark.parametrize("model", [None, "", "  ", "None", ["z-image-turbo"]], ids=repr)
    def test_missing_model_is_refused(self, model):
        assert problem(model=model) == (
            f"model must be the model's id, such as 'z-image-turbo', not {model!r}."
        )

    @pytest.mark.parametrize("value", ["png", "URL", "b64", 5, 0, False, [], ["url"]], ids=repr)
    def test_unknown_response_format_is_refused(self, value):
        assert problem(response_format=value) == (
            f"response_format must be one of url, b64_json, not {value!r}."
        )

    @pytest.mark.parametrize(
        "value",
        [
            1024,
            (64, 32),
            [64, 32],
            True,
            {},
            {"width": 64},
            {"width": 64, "height": 32, "depth": 1},
            {"w": 64, "h": 32},
            '{"width": 64}',
        ],
        ids=repr,
    )
    def test_image_size_of_another_shape_is_refused(self, value):
        text = problem(image_size=value)

        assert text.startswith(
            "image_size must be a preset such as 'square_hd' or {'width': 1024, 'height': 1024}, not "
        )
        assert "64" in text or str(value) in text

    @pytest.mark.parametrize("value", [0, -64, 64.5, "x", None, "None", True], ids=repr)
    @pytest.mark.parametrize("side", ["width", "height"])
    def test_image_size_that_is_not_positive_is_refused(self, side, value):
        assert problem(image_size={"width": 64, "height": 32, side: value}) == (
            f"image_size['{side}'] must be an integer of at least 1, not {value!r}."
        )

    def test_image_size_that_a_template_rendered_as_python_is_told_how_to_do_better(self):
        text = problem(image_size="{'width': 64, 'height': 32}")

        assert text.startswith("image_size was rendered to ")
        assert text.endswith("which is not JSON: render it with '| tojson'.")

    @pytest.mark.parametrize("value", ["x", "4.5", 4.5, True, [4], "-1", -1, "1e3", float("nan")], ids=repr)
    def test_seed_that_is_no_integer_after_rendering_is_refused(self, value):
        assert problem(seed=value) == f"seed must be an integer of at least 0, not {value!r}."

    @pytest.mark.parametrize("value", [0, "0", "many", 4.5, False], ids=repr)
    def test_steps_that_are_no_positive_integer_are_refused(self, value):
        assert problem(num_inference_steps=value) == (
            f"num_inference_steps must be an integer of at least 1, not {value!r}."
        )

    @pytest.mark.parametrize("value", [5, ["my-org"], True], ids=repr)
    def test_namespace_of_another_type_is_refused(self, value):
        assert problem(target_namespace=value) == f"target_namespace must be a text, not {value!r}."

    def test_reserved_names_are_those_with_an_argument_or_the_hubs(self):
        assert set(RESERVED) == {
            *("model", "prompt", "response_format", "target_namespace", "image_size", "num_inference_steps"),
            *("seed", "num_generations", "target_repo", "target_directory"),
        }

    @pytest.mark.parametrize("reserved", sorted(RESERVED))
    def test_reserved_name_in_model_params_is_refused(self, reserved):
        assert problem(model_params={reserved: None, "aspect_ratio": "1:1"}) == (
            f"model_params must not hold '{reserved}': the task has an argument for this, or sets it itself. "
            "Leave it out of model_params."
        )

    @pytest.mark.parametrize("value", ["x" * (32 * 1024 * 1024), [0] * 100_001], ids=["long", "many"])
    def test_request_that_no_record_could_be_read_again_with_is_refused(self, value):
        assert "32 MB and 100,000 values are sent" in problem(model_params={"input_image": value})

    def test_all_reserved_names_are_told_at_once(self):
        assert "must not hold 'prompt', 'seed':" in problem(model_params={"seed": 1, "prompt": "x"})

    @pytest.mark.parametrize("value", [5, ["a"], "[1]", {5: 1}], ids=repr)
    def test_model_params_that_map_no_names_are_refused(self, value):
        assert problem(model_params=value).startswith("model_params must map names to values, not ")

    @pytest.mark.parametrize(
        "value",
        [float("nan"), float("inf"), {1, 2}, b"bytes", object(), "\ud800", {1: 1, "a": 2}],
        ids=lambda value: type(value).__name__,
    )
    def test_what_json_cannot_hold_is_refused(self, value):
        text = problem(model_params={"p": value})

        assert text.startswith("The request cannot be written as JSON: ")

    def test_what_ends_in_itself_is_refused(self):
        endless: list[Any] = []
        endless.append(endless)

        assert "cannot be written as JSON" in problem(model_params={"p": endless})

    def test_prompt_that_no_encoding_takes_is_refused(self):
        assert "cannot be written as JSON" in problem(prompt="half a character: \ud83d")


class TestFingerprint:
    """The same request has the same name, another has another."""

    def test_name_stays_the_same_over_processes_and_versions(self):
        """Kept outputs hang on it: another name, and what was paid for would not be found again."""
        request = read(seed=7, image_size={"width": 64, "height": 32}, model_params={"steps": 4, "b": [1.5]})

        assert fingerprint(request) == "a3f978358cc8a9c50b25de425832341f3a313eed5011ea3c8fb5246e5fb5616c"

    def test_size_in_pixels_is_named_as_it_is_written(self):
        """What earlier versions have bought by this name was asked for with the text itself."""
        assert name(image_size="1024x768") == (
            "77765eb56733769eaa89ef526d7b9d81c4897944dd5a2de771065f6b9684c1db"
        )
        assert name(image_size="1024x768") != name(image_size={"width": 1024, "height": 768})

    def test_name_does_not_hang_on_the_process(self):
        code = (
            "from airflow_provider_oxen.jobs.request import *;"
            "print(fingerprint(RequestArguments.read(dict(prompt='A red cube', model='z-image-turbo',"
            "model_params={'b': {'y': 1, 'x': 2}, 'a': 'true'})).request()))"
        )
        shown = {
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            ).stdout.strip()
            for seed in ("1", "2")
        }

        assert shown == {name(model_params={"a": True, "b": {"x": 2, "y": 1}})}

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"response_format": "url"}, {"response_format": "b64_json"}),
            ({"seed": 7}, {"seed": "7"}),
            ({"seed": None}, {}),
            ({"num_inference_steps": 4}, {"num_inference_steps": "4.0"}),
            ({"image_size": {"width": 64, "height": 32}}, {"image_size": '{"height": "32", "width": 64}'}),
            ({"model_params": {"steps": 4}}, {"model_params": {"steps": "4"}}),
            ({"model_params": {"steps": 4}}, {"model_params": {"steps": 4.0}}),
            ({"model_params": {"scale": 3.5}}, {"model_params": {"scale": "3.5"}}),
            ({"model_params": {"fast": True}}, {"model_params": {"fast": "True"}}),
            ({"model_params": {"fast": False}}, {"model_params": {"fast": "false"}}),
            ({"model_params": {"a": None}}, {}),
            ({"model_params": {"a": 1, "b": 2}}, {"model_params": {"b": 2, "a": 1}}),
            ({"model_params": {"a": {"b": 1}}}, {"model_params": {"a": {"b": "1"}}}),
            ({"model_params": {"a": ["1", "x"]}}, {"model_params": {"a": (1, "x")}}),
            ({"model": "z-image-turbo"}, {"model": " z-image-turbo"}),
        ],
        ids=str,
    )
    def test_same_request_has_the_same_name(self, one, other):
        assert name(**one) == name(**other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("7", "007"),
            ("5", "+5"),
            (3.5, "3.50"),
            (False, " false "),
            ("", " "),
            ("9007199254740993.0", "9007199254740992.0"),
            ({"x": None}, {}),
        ],
        ids=str,
    )
    def test_what_is_sent_differently_never_shares_a_name(self, one, other):
        assert name(model_params={"a": one}) != name(model_params={"a": other})

    @pytest.mark.parametrize("text", ["", "None"])
    def test_text_that_looks_like_nothing_is_not_nothing(self, text):
        assert name(model_params={"a": text}) != name()

    @pytest.mark.parametrize(
        "other",
        [
            {"prompt": "A red cube "},
            {"prompt": "A Red cube"},
            {"model": "z-image"},
            {"target_namespace": "my-org"},
            {"image_size": "square_hd"},
            {"num_inference_steps": 4},
            {"seed": 0},
            {"model_params": {"a": 0}},
            {"model_params": {"a": 1}},
            {"model_params": {"a": True}},
            {"model_params": {"a": 1.5}},
            {"model_params": {"a": "x"}},
            {"model_params": {"a": [1, 2]}},
            {"model_params": {"a": [2, 1]}},
            {"model_params": {"a": [1, None]}},
            {"model_params": {"a": {"b": 1}}},
            {"model_params": {"b": 1}},
        ],
        ids=str,
    )
    def test_another_request_has_another_name(self, other):
        everything_else: list[dict[str, Any]] = [
            {},
            {"prompt": "A red cubE"},
            {"seed": 1},
            {"image_size": "square"},
            {"model_params": {"a": 2}},
            {"model_params": {"a": [1]}},
        ]

        assert name(**other) not in {name(**given) for given in everything_else}

    def test_truth_is_no_number(self):
        assert name(model_params={"a": True}) != name(model_params={"a": 1})

    def test_parameter_is_not_mistaken_for_an_argument(self):
        request = read()
        disguised = GenerateRequest(model="z-image-turbo", prompt="A red cube", parameters={"seed": 1})

        assert fingerprint(disguised) not in {fingerprint(request), name(seed=1)}

    def test_drawn_seed_changes_nothing(self):
        asked = read()
        settled = settle(asked, SCHEMA, KEY)

        assert settled["seed"] is not None
        assert fingerprint(asked) == name()


class TestSettling:
    """The body fits the model's schema and has its seed; nothing changes it afterwards."""

    def test_tuples_are_lists_to_a_schema(self):
        settled = settle(read(model_params={"sizes": (1, (2, 3)), "deep": {"a": (4,)}}), None, KEY)

        assert settled == {**read().body(), "sizes": [1, [2, 3]], "deep": {"a": [4]}}

    def test_size_takes_the_form_that_the_model_takes(self):
        sides: dict[str, Any] = {"properties": {"width": {}, "height": {}}}

        assert settle(read(image_size="64x32"), sides, KEY) == {
            **read().body(),
            "width": 64,
            "height": 32,
        }
        assert settle(read(image_size="64x32"), None, KEY)["image_size"] == {"width": 64, "height": 32}
        assert settle(read(image_size="square"), sides, KEY)["image_size"] == "square"

    def test_seed_of_the_user_stays(self):
        settled = settle(read(seed="7"), SCHEMA, KEY)

        assert settled["seed"] == 7

    def test_every_try_of_a_task_asks_for_the_very_same_image(self):
        first, second = settle(read(), SCHEMA, KEY), settle(read(), SCHEMA, KEY)

        assert first == second
        assert first == {**read().body(), "seed": first["seed"]}
        assert 0 <= first["seed"] <= 1000

    def test_another_task_asks_for_another_image(self):
        assert settle(read(), SCHEMA, KEY) != settle(read(), SCHEMA, KEY[::-1])

    def test_each_job_of_a_task_has_a_seed_of_its_own(self):
        schema: dict[str, Any] = {"properties": {"seed": {}}}
        seeds = {settle(read(), schema, f"{KEY}/{counter}")["seed"] for counter in range(5)}

        assert len(seeds) == 5
        assert all(0 <= seed <= SEED_LIMIT for seed in seeds)

    def test_seed_is_within_what_the_schema_allows(self):
        narrow = {"properties": {"seed": {"minimum": 10, "maximum": 12}}}
        keys = [format(number, "064x") for number in range(60)]

        seeds = {settle(read(), narrow, key)["seed"] for key in keys}

        assert seeds == {10, 11, 12}

    @pytest.mark.parametrize("schema", [None, {}, {"properties": {"steps": {}}}], ids=str)
    def test_model_that_takes_no_seed_gets_none(self, schema):
        settled = settle(read(), schema, KEY)

        assert settled == read().body()

    def test_parameters_fit_the_schema(self):
        settled = settle(read(model_params={"steps": "4", "other": "4"}), SCHEMA, KEY)

        assert (settled["steps"], settled["other"]) == (4, "4")

    def test_parameter_that_renders_to_nothing_is_not_sent(self):
        settled = settle(read(model_params={"steps": "None"}), SCHEMA, KEY)

        assert "steps" not in settled

    def test_all_else_stays(self):
        asked = read(
            response_format="b64_json",
            image_size={"width": 64, "height": 32},
            num_inference_steps=4,
            seed=7,
            target_namespace="my-org",
            model_params={"a": {"b": 1}},
        )

        assert settle(asked, SCHEMA, KEY) == asked.body()
