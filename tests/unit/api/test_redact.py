"""Whatever was signed, what is left of a URL is fit for a log line."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from airflow_provider_oxen.api.errors import OxenError
from airflow_provider_oxen.api.redact import (
    describe_error,
    redact,
    redact_unless_echoed,
    redacted_line,
    register_key,
    scrub,
    without_queries,
    without_query,
)
from airflow_provider_oxen.api.settings import Settings

KEY = "redact-K3y/+that&must=not-leak"

register_key(KEY)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hub.example/a/b.png?sig=1#x", "https://hub.example/a/b.png"),
        ("https://user:word@hub.example:8443/a", "https://hub.example:8443/a"),
        ("https://hub.example", "https://hub.example"),
        ("https://hub.example/a b?sig=1 2", "https://hub.example/ab"),
        ("https://[broken?sig=1", "https://[broken"),
        ("image.png?sig=1", "image.png"),
        ("image.png?sig", "image.png"),
        ("https://hub.example/it's.png?k='2'&sig=1", "https://hub.example/it's.png"),
    ],
)
def test_query_user_and_fragment_are_left_out(url, shown):
    assert without_query(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see HTTP://u:p@b.example/y?k='2' and such", "see HTTP://b.example/y' and such"),
        (r"https:\/\/u:p@a.example\/f.png?sig=1", r"https:\/\/a.example\/f.png"),
        ("as https://u:p@q'r@a.example/x says", "as https://a.example/x says"),
        ("could not read image.png?signature=1", "could not read image.png"),
        ("https://a.example/x#sig https://b.example?sig", "https://a.example/x https://b.example"),
        ("https://a.example/@home/x?y@z", "https://a.example/@home/x"),
        ("could not read /files/image.png?signature=1", "could not read /files/image.png"),
        (r"https:\/\/a.example\/f.png?signature=1", r"https:\/\/a.example\/f.png"),
        ('read "https://a.example/x?sig=1".', 'read "https://a.example/x".'),
        ("is it a cube? yes # 1, 1/2 #2 really?no", "is it a cube? yes # 1, 1/2 #2 really?no"),
        ("", ""),
    ],
)
def test_every_url_and_path_of_a_text_loses_its_query(text, shown):
    assert without_queries(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/x?name='2'&{}",
        'https://a.example/x?name="2"&{}',
        "https://a.example/x?name=<2>&{}",
        "https://a.example/it's.png?{}",
        "really?https://a.example/x?{}",
        "issue#1:https://a.example/x?{}",
        "HTTPS://a.example/x#{}",
        "x.png?{}",
        '{{"url":"https://a.example/x?{}","code":5}}',
        "['https://a.example/x?a','https://a.example/y?{}']",
        "https://u:{}@a.example/x",
        "https://u:p@{}@a.example/x",
        r"HTTPS:\/\/u:{}@a.example\/x",
    ],
)
def test_nothing_signed_survives_however_it_is_written(text):
    text = text.format("signature=word")

    assert "word" not in without_query(text)
    assert "word" not in without_queries(f"It says {text}, and more.")


@pytest.mark.parametrize(
    "text", ["A" * 3_000_000, "a/" * 1_500_000, "a?" * 1_500_000], ids=["word", "path", "asking"]
)
def test_long_text_is_read_as_far_as_anything_is_shown(text):
    assert without_queries(text[:50_000]) == text[:50_000]
    assert text.startswith(without_queries(text))


SIGNED = "https://u:pw@a.example/x.png?X-Amz-Credential=AKIA&X-Amz-Signature=5f1c2d3e4b5a"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("X-Amz-Signature=5f1c is wrong", "X-Amz-Signature=*** is wrong"),
        ("of ?a=b&X-Goog-Signature=5f1c&c=d", "of "),
        ("the sig = 5f1c", "the sig=***"),
        ('{"X-Amz-Signature": "5f1c", "max_tokens": 5}', '{"X-Amz-Signature": "***", "max_tokens": 5}'),
        ("max_tokens=5, design=5, content_policy", "max_tokens=5, design=5, content_policy"),
        ("Authorization: Bearer 5f1c2d3e4b5a", "Authorization: Bearer ***"),
        ("Bearer authentication is needed", "Bearer authentication is needed"),
        (f"at {quote(SIGNED, safe='')} it", "at https%3A%2F%2Fa.example%2Fx.png it"),
        (f"at {quote(quote(SIGNED, safe=''))} it", "at https%253A%252F%252Fa.example%252Fx.png it"),
        (f"at {SIGNED.replace('?', chr(92) + 'u003f')} it", "at https://a.example/x.png it"),
        (SIGNED.replace("-Sig", "-\n  Sig") + " is dead", "https://a.example/x.png is dead"),
        (SIGNED.replace("?", " ?") + " is dead", "https://a.example/x.png  is dead"),
        (SIGNED.replace("Signature=", "Signature=\n") + " is dead", "https://a.example/x.png is dead"),
        (SIGNED.replace("f1c2", "f1\tc2") + " is dead", "https://a.example/x.png is dead"),
        ("an X-Amz-Signa ture=5f1c in it", "an X-Amz-Signature=*** in it"),
    ],
)
def test_signatures_are_found_in_other_clothes(text, shown):
    assert without_queries(text) == shown


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        KEY.upper(),
        quote(KEY, safe=""),
        quote(quote(KEY, safe=""), safe=""),
        "".join(f"%{ord(mark):02x}" for mark in KEY),
        KEY.replace("/", "\\/"),
        KEY.replace("&", "\\u0026"),
        f"{KEY[:9]}\n   {KEY[9:]}",
    ],
    ids=["plain", "capitals", "encoded", "twice", "whole", "escaped", "json", "folded"],
)
def test_key_is_found_in_other_clothes(key):
    assert redact(f"the key {key} is wrong") == "the key *** is wrong"
    assert without_queries(f"the key {key} is wrong") == scrub(f"the key {key} is wrong")


def test_short_key_is_in_no_way_of_other_words():
    Settings(api_key="cube")
    Settings(api_key="kettle")

    assert without_queries("a red cube in kettles") == "a red cube in kettles"
    assert without_queries("the key kettle") == "the key ***"


def test_error_tells_no_secret_whoever_made_its_sentence():
    error = OxenError(f"It said {KEY}.", request_id=f"id {KEY}", type=f"{SIGNED} {KEY}")
    error.advise(f"And X-Amz-Signature=5f1c, {KEY}.")

    assert str(error) == "Nothing was spent. It said ***. And X-Amz-Signature=***, ***. (request id id ***)"
    assert (error.type, error.args) == ("https://a.example/x.png ***", ("It said ***.",))


def test_key_across_the_end_of_what_is_read_is_found():
    assert without_queries("x" * 99_990 + KEY).endswith("x***")


def test_word_of_the_hub_is_short_and_on_one_line():
    assert redacted_line(f"a\n{KEY}  b") == "a *** b"
    assert redacted_line("x" * 500) == "x" * 199 + "…"
    assert [redacted_line(value) for value in (None, 5, " ", ["a"])] == [None] * 4


def test_what_the_hub_repeats_to_the_letter_is_the_users_own():
    assert redact_unless_echoed("org/model#2", "org/model#2") == "org/model#2"
    assert redact_unless_echoed("org/model#2", "org/model") == "org/model"


def test_error_of_a_library_is_told_without_secrets():
    assert describe_error(ValueError(f"{SIGNED} {KEY}")) == "ValueError: https://a.example/x.png ***"


def test_half_a_character_can_be_written_to_any_log():
    for make in (scrub, without_queries, without_query):
        assert make("a\ud800b é") in ("a\\ud800b é", "a\\ud800bé")


def test_key_that_is_a_part_of_another_leaves_nothing_of_it():
    register_key("the-inner-key-to-hide")
    register_key("x9-the-inner-key-to-hide")

    assert redact("by x9-the-inner-key-to-hide, and the-inner-key-to-hide") == "by ***, and ***"


def test_query_goes_on_behind_the_white_space_that_breaks_it():
    assert without_queries("at https://h/a?page= abcdef, he said") == "at https://h/a he said"
