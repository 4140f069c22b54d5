"""A row becomes an exact request and a name that is safe as a file's, or is refused with its reason."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.api.redact import register_key
from airflow_provider_oxen.batch.rows import MAX_PROMPT, CheckedRow, RawRow, check
from airflow_provider_oxen.jobs.request import RESERVED, RequestArguments, fingerprint

KEY = "k3y-of-the-rows-tests"
register_key(KEY)

DEFAULTS: dict[str, Any] = {
    "model": "z-image-turbo",
    "response_format": "url",
    "image_size": "square_hd",
    "num_inference_steps": None,
    "seed": None,
    "target_namespace": "",
    "model_params": {"guidance": 3.5},
}
OVERRIDES: dict[str, tuple[Any, Any]] = {
    "model": ("flux", "flux"),
    "response_format": ("b64_json", "b64_json"),
    "image_size": ('{"width": 64, "height": 32}', {"width": 64, "height": 32}),
    "num_inference_steps": ("4", 4),
    "seed": (7.0, 7),
    "target_namespace": (" my-org ", "my-org"),
}
"""Of each fixed field a row's value, and what is sent."""


def row(defaults: dict[str, Any] | None = None, /, **values: Any) -> CheckedRow:
    return check(RawRow(3, {"prompt": "A red cube", **values}), {**DEFAULTS, **(defaults or {})})


def body(defaults: dict[str, Any] | None = None, /, **values: Any) -> dict[str, Any]:
    return row(defaults, **values).request.body()


def problem(values: Any, defaults: dict[str, Any] | None = None) -> str:
    with pytest.raises(OxenInvalidRequest) as caught:
        check(RawRow(3, values), {**DEFAULTS, **(defaults or {})})
    told = caught.value.message
    assert not told.endswith(".")
    assert "Nothing was sent" not in told
    assert len(told) < 500
    return told


def id_problem(id: Any) -> str:
    return problem({"prompt": "A red cube", "id": id})


class TestRequest:
    """What a row asks for: its own fields over the operator's."""

    def test_plain_prompt_has_the_operators_fields(self):
        request = RequestArguments.read(dict(prompt="A red cube", **DEFAULTS)).request()

        assert row() == CheckedRow(3, None, request, fingerprint(request))
        assert request.body() == {
            "model": "z-image-turbo",
            "prompt": "A red cube",
            "response_format": "url",
            "image_size": "square_hd",
            "guidance": 3.5,
        }

    @pytest.mark.parametrize("name", OVERRIDES)
    def test_row_overrides_a_field(self, name):
        given, sent = OVERRIDES[name]

        assert body(**{name: given}) == {**body(), name: sent}
        assert body({name: given}) == {**body(), name: sent}

    @pytest.mark.parametrize("name", OVERRIDES)
    @pytest.mark.parametrize("nothing", [None, "", " ", "None", "null"], ids=repr)
    def test_nothing_stands_for_the_operators(self, name, nothing):
        given, sent = OVERRIDES[name]

        assert body({name: given}, **{name: nothing}) == {**body(), name: sent}

    def test_any_other_name_is_a_parameter_of_the_model(self):
        assert body(aspect_ratio="1:1", strength=0.5, tags=["a"]) == {
            **body(),
            "aspect_ratio": "1:1",
            "strength": 0.5,
            "tags": ["a"],
        }

    @pytest.mark.parametrize("theirs", [{"guidance": 3.5, "fast": True}, '{"guidance": 3.5, "fast": true}'])
    @pytest.mark.parametrize("own", [{"guidance": 7, "strength": 1}, '{"guidance": 7, "strength": 1}'])
    def test_parameters_of_a_row_are_merged_over_the_operators(self, theirs, own):
        sent = body({"model_params": theirs}, model_params=own, seed=1)

        assert sent == {**body(), "guidance": 7, "fast": True, "strength": 1, "seed": 1}
        assert body({"model_params": theirs}, guidance=7)["guidance"] == 7

    @pytest.mark.parametrize("nothing", [None, "", "None", {}], ids=repr)
    def test_parameters_may_be_none(self, nothing):
        assert body({"model_params": nothing}) == {n: v for n, v in body().items() if n != "guidance"}
        assert body(model_params=nothing) == body()

    def test_null_beside_stands_for_the_operators_and_within_model_params_for_none(self):
        assert body(guidance=None) == body()
        assert "guidance" not in body(model_params={"guidance": None})
        assert body(negative_prompt="") == {**body(), "negative_prompt": ""}

    def test_operators_parameters_are_left_as_they_are(self):
        theirs = {"guidance": 3.5}
        body({"model_params": theirs}, guidance=7, model_params={"a": 1})

        assert theirs == {"guidance": 3.5}

    def test_fingerprint_is_of_what_the_row_asks_for(self):
        assert row().fingerprint == row(id="x", response_format="b64_json").fingerprint
        assert row().fingerprint != row(seed=1).fingerprint
        assert row({"seed": 1}).fingerprint == row(seed="1").fingerprint

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({"seed": "x"}, "seed must be an integer of at least 0, not 'x'"),
            ({"seed": True}, "seed must be an integer of at least 0, not True"),
            ({"num_inference_steps": 0}, "num_inference_steps must be an integer of at least 1, not 0"),
            ({"image_size": [1]}, "image_size must be a preset such as"),
            ({"response_format": "png"}, "response_format must be one of url, b64_json, not 'png'"),
            ({"image_size": {}}, "image_size must be a preset such as"),
            ({"model": ["a"]}, "model must be the model's id, such as 'z-image-turbo', not ['a']"),
            ({"target_namespace": 5}, "target_namespace must be a text, not 5"),
            ({"model_params": "{"}, "model_params was rendered to '{', which is not JSON"),
            ({"model_params": [1]}, "model_params must map names to values, not [1]"),
            (
                {"strength": float("nan")},
                "The request cannot be written as JSON: model_params['strength'] is nan",
            ),
            ({"strength": b"x"}, "The request cannot be written as JSON: model_params['strength'] is b'x'"),
            (
                {"guidance": 1, "model_params": {"guidance": 1}},
                "'guidance' is set twice: beside model_params",
            ),
            ({"": 1}, "names must be texts that are not empty, not ''"),
            ({5: 1}, "names must be texts that are not empty, not 5"),
            ({None: ["cell"]}, "names must be texts that are not empty, not None"),
            ({"\ud800": 1}, "The request cannot be written as JSON: a text in it holds half a character"),
            ({"seed": -(10**5000)}, "The request cannot be written as JSON: seed is"),
        ],
        ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
    )
    def test_field_that_will_not_do_is_told_in_the_operators_words(self, values, told):
        assert problem({"prompt": "A red cube", **values}).startswith(told)

    @pytest.mark.parametrize("odd", [ValueError("an odd value"), RecursionError("too deep")])
    def test_what_nobody_foresaw_is_the_rows(self, monkeypatch, odd):
        def stumble(given: Any) -> None:
            raise odd

        monkeypatch.setattr(RequestArguments, "read", stumble)

        assert problem({"prompt": "A red cube"}) == f"a value cannot be used: {odd}"

    def test_key_is_taken_out_before_a_librarys_words_are_cut(self, monkeypatch):
        def stumble(given: Any) -> None:
            raise ValueError(f"{'x' * 185} {KEY}")

        monkeypatch.setattr(RequestArguments, "read", stumble)

        assert KEY[:8] not in problem({"prompt": "A red cube"})

    @pytest.mark.parametrize("name", ["num_generations", "target_repo", "target_directory"])
    def test_field_of_the_hub_is_refused(self, name):
        assert problem({"prompt": "A red cube", name: "x"}).startswith(f"model_params must not hold '{name}'")

    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_field_with_a_place_of_its_own_is_refused_within_model_params(self, name):
        told = problem({"prompt": "A red cube", "model_params": {name: 1}})

        assert told.startswith(f"model_params must not hold '{name}'")

    @pytest.mark.parametrize("depth", [200, 300, 400, 480, 600, 2000, 50_000])
    @pytest.mark.parametrize("name", ["a", "seed", "image_size", "id"])
    def test_value_of_any_depth_is_a_request_or_a_problem(self, name, depth):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        try:
            row(**{name: value})
        except OxenInvalidRequest as error:
            assert len(str(error)) < 500  # noqa: PT017 - either will do.

    def test_problem_of_reading_is_told_as_it_is(self):
        with pytest.raises(OxenInvalidRequest, match=r"is not JSON: \.\.\.$"):
            check(RawRow(3, {}, "is not JSON: ..."), DEFAULTS)


class TestPrompt:
    """A text that says something, and no file that was put there by mistake."""

    @pytest.mark.parametrize(
        "prompt",
        [" A\tred\ncube \r\n", "Ein Würfel 🎲 \u2028 \u200d", "x" * MAX_PROMPT, "🎲" * MAX_PROMPT, "7"],
    )
    def test_prompt_is_sent_as_it_is(self, prompt):
        assert row(prompt=prompt).request.prompt == prompt

    @pytest.mark.parametrize("values", [{}, {"prompt": None}, {"text": "a"}, {7: "a"}], ids=repr)
    def test_missing_prompt_is_told(self, values):
        assert problem(values) == "there is no prompt"

    @pytest.mark.parametrize("name", ["Prompt", "prompts", "promt"])
    def test_misspelt_prompt_is_told(self, name):
        assert problem({"prompt": None, name: "a"}) == f"there is no prompt, but {name!r}: rename it"

    @pytest.mark.parametrize("prompt", ["", "  ", "\n", "None", "null"], ids=repr)
    def test_prompt_that_says_nothing_is_told(self, prompt):
        assert problem({"prompt": prompt}) == f"prompt must not be empty, as {prompt!r} is"

    @pytest.mark.parametrize("prompt", [5, 0.5, True, ["a"], {"a": 1}, b"a"], ids=repr)
    def test_prompt_that_is_no_text_is_told(self, prompt):
        assert problem({"prompt": prompt}) == f"prompt must be a text, not {prompt!r}"

    @pytest.mark.parametrize("size", [MAX_PROMPT + 1, 10_000_000])
    def test_prompt_that_is_too_long_is_told_with_its_size_and_not_whole(self, size):
        assert problem({"prompt": "xy" * size}) == (
            f"prompt has {2 * size:,} characters, and 100,000 are allowed: '{'xy' * 30}'"
        )

    @pytest.mark.parametrize(
        ("character", "named"),
        [
            ("\0", "the control character U+0000"),
            ("\x07", "the control character U+0007"),
            ("\x0b", "the control character U+000B"),
            ("\x1b", "the control character U+001B"),
            ("\x7f", "the control character U+007F"),
            ("\x92", "the control character U+0092"),
            ("\ud83d", "half a character U+D83D"),
            ("\r", "a carriage return without a line feed"),
            ("\r\r\n", "a carriage return without a line feed"),
        ],
        ids=repr,
    )
    def test_character_that_no_prompt_has_is_told_with_its_place(self, character, named):
        prompt = f"A red {character}cube"

        assert problem({"prompt": prompt}) == f"prompt holds {named} at character 7: {prompt!r}"

    def test_every_other_character_is_left_alone(self):
        refused = {
            chr(code)
            for code in range(0x11000)
            if not 0xD800 <= code < 0xE000 and unicodedata.category(chr(code)) == "Cc"
        } - {"\t", "\n"}
        fit = "".join(chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000)
        fit = "".join(character for character in fit if character not in refused)

        assert row(prompt=fit).request.prompt == fit
        for character in refused:
            problem({"prompt": f"a{character}b"})

    def test_prompt_is_not_quoted_whole(self):
        assert len(problem({"prompt": "x" * 90_000 + "\0"})) < 200


class TestId:
    """The user's name of a row becomes that of its files, on any system and in any script."""

    @pytest.mark.parametrize(
        ("id", "name"),
        [
            ("a", "a"),
            ("Hero_01", "Hero_01"),
            (7, "7"),
            (0, "0"),
            (10**149, "1" + "0" * 149),
            ("007", "007"),
            ("None", "None"),
            ("_x", "_x"),
            ("+=@,()", "+=@,()"),
            ("a.b - c (1), d+e=f@g", "a.b - c (1), d+e=f@g"),
            ("Würfel", "Würfel"),
            ("立方体", "立方体"),
            ("हिन्दी", "हिन्दी"),
            ("x" * 150, "x" * 150),
            ("立" * 50, "立" * 50),
            ("manifest-1", "manifest-1"),
            ("console", "console"),
            ("com", "com"),
            ("com10", "com10"),
        ],
        ids=repr,
    )
    def test_id_is_kept(self, id, name):
        assert row(id=id).id == name

    @pytest.mark.parametrize("nothing", [None, ""], ids=repr)
    def test_row_may_have_none(self, nothing):
        assert row(id=nothing).id is None

    @pytest.mark.parametrize("id", [True, False, 1.0, 0.0, float("nan"), [], ["a"], {}, b"a", b""], ids=repr)
    def test_id_of_another_type_is_refused(self, id):
        assert id_problem(id) == f"id must be a text or an integer, not {id!r}"

    @pytest.mark.parametrize(
        "id",
        ["../a", "a/b", "/etc/passwd", "a\\b", "a:b", "a*b", "a?b", "a|b", "a<b", 'a"b', "a'b", "a%b",
         "a#b", "a&b", "a;b", "a\0b", "a\nb", "a\tb", "a\u200bb", "a\u202eb", "a\u2028b",
         "a\xa0b", "🎲", "a\ud800", "a~b", "$a", "{{ ds }}", "a[1]", "!a"],
        ids=repr,
    )  # fmt: skip
    def test_character_that_is_unsafe_in_a_file_name_is_refused_and_named(self, id):
        wrong = next(c for c in id if c not in ". " and not unicodedata.category(c).startswith(("L", "N")))

        assert id_problem(id) == (
            f"id {id!r} becomes a file name and must hold letters, digits, inner spaces and . _ - + = @ , ( )"
            f" only, not {wrong!r}"
        )

    @pytest.mark.parametrize(
        ("id", "rule"),
        [
            (" a", "must not have white space around it"),
            ("a ", "must not have white space around it"),
            ("a\n", "must not have white space around it"),
            ("\u3000a", "must not have white space around it"),
            (" ", "must not have white space around it"),
            (".a", "must not begin with '.', '-' or an accent"),
            (".", "must not begin with '.', '-' or an accent"),
            ("..", "must not begin with '.', '-' or an accent"),
            ("-rf", "must not begin with '.', '-' or an accent"),
            (-1, "must not begin with '.', '-' or an accent"),
            ("\u0301a", "must not begin with '.', '-' or an accent"),
            ("a.", "must not end with '.'"),
            ("x" * 151, "must have at most 150 bytes of UTF-8, not 151"),
            ("立" * 51, "must have at most 150 bytes of UTF-8, not 153"),
            (
                unicodedata.normalize("NFD", "Würfel"),
                "must be in Unicode's form NFC: in another form, the same",
            ),
            ("\u212b", "must be in Unicode's form NFC"),
            ("manifest", "must not be one that the batch writes itself"),
            ("SUMMARY", "must not be one that the batch writes itself"),
            ("Index", "must not be one that the batch writes itself"),
            ("con", "must not be a name that Windows keeps for a device"),
            ("NUL", "must not be a name that Windows keeps for a device"),
            ("Aux.v2", "must not be a name that Windows keeps for a device"),
            ("prn .x", "must not be a name that Windows keeps for a device"),
            ("com1", "must not be a name that Windows keeps for a device"),
            ("LPT9", "must not be a name that Windows keeps for a device"),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_name_that_would_not_do_as_a_file_is_refused_with_the_rule(self, id, rule):
        told = id_problem(id)

        assert rule in told
        assert told.startswith(f"id {str(id)!r} becomes a file name and ")

    @pytest.mark.parametrize("id", [10**150, -(10**150), 10**5000], ids=range(3))
    def test_number_without_end_is_refused(self, id):
        assert id_problem(id) == "id must have at most 150 digits"

    def test_long_id_is_not_quoted_whole(self):
        assert len(id_problem("/" * 100_000)) < 400


def test_ten_thousand_rows_are_a_matter_of_a_moment():
    raws = [
        RawRow(line, {"prompt": f"A red cube, number {line}", "id": f"r-{line}", "seed": str(line)})
        for line in range(10_000)
    ]

    begun = time.process_time()
    rows = [check(raw, DEFAULTS) for raw in raws]
    took = time.process_time() - begun

    assert len({row.fingerprint for row in rows}) == 10_000
    # Some tenths of a second; what looked at each row for each row would take minutes.
    assert took < 15


class TestFormer:
    """What earlier versions took for parameters, and for other numbers."""

    @pytest.mark.parametrize("name", ["__index_level_0__", "__index_level_12__", "Unnamed: 0"])
    def test_the_index_of_a_data_frame_is_no_parameter(self, name):
        found = row(**{name: 5, "guidance": 4})

        assert found._replace(former=None) == row(guidance=4)
        assert found.former is not None
        assert found.former.request.body()[name] == 5
        assert found.former.fingerprint != found.fingerprint

    def test_other_names_are_parameters(self):
        assert {"index", "level_0", "Unnamed"} <= set(body(**{"index": 1, "level_0": 2, "Unnamed": 3}))

    def test_a_former_reading_with_the_same_fingerprint_is_none(self):
        found = check(
            RawRow(1, {"prompt": "A", "guidance": 3}, former={"prompt": "A", "guidance": 3.0}), DEFAULTS
        )

        assert found.former is None

    def test_a_former_reading_that_would_not_do_is_none(self):
        found = check(RawRow(1, {"prompt": "A"}, former={"prompt": "A", "x": float("nan")}), DEFAULTS)

        assert found.former is None


@pytest.mark.parametrize("kind", ["int64", "uint8"])
def test_integers_of_numpy_may_be_ids_and_fields(kind):
    number = getattr(pytest.importorskip("numpy"), kind)(7)

    found = row(id=number, seed=number, num_inference_steps=number, guidance=number)

    assert (found.id, found.request.seed, found.request.num_inference_steps) == ("7", 7, 7)
    assert repr(found.request.body()["guidance"]) == "7"
