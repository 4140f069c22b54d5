"""A connection's fields become settings, or an error that names the field and what it may hold."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.extras import shown
from airflow_provider_oxen.api.settings import DEFAULT_HOST, EXTRAS, Settings, is_loopback, origin

from .conftest import KEY, leaks_nothing


def problem(**fields: Any) -> str:
    with pytest.raises(OxenSettingsError) as caught:
        Settings.from_fields(**{"password": KEY, **fields})
    leaks_nothing(caught.value)
    assert caught.value.__cause__ is None
    return caught.value.message


def extra(**values: Any) -> Settings:
    return Settings.from_fields(extra=values)


NOTHING: list[dict[str, Any]] = [
    {},
    {"host": None, "password": None, "schema": None, "port": None, "extra": None},
    {"host": "", "password": "", "schema": "", "port": 0, "extra": {}},
    {"host": " ", "password": " ", "extra": dict.fromkeys(EXTRAS)},
    {"extra": dict.fromkeys(EXTRAS, "")},
]


@pytest.mark.parametrize("fields", NOTHING, ids=str)
def test_what_is_empty_counts_as_unset(fields):
    assert Settings.from_fields(**fields) == Settings()


def test_defaults_are_those_of_the_docs():
    assert vars(Settings()) == {
        "base_url": "https://hub.oxen.ai",
        "api_key": None,
        "api_layout": "auto",
        "target_namespace": None,
        "timeout": 300.0,
        "connect_timeout": 10.0,
        "max_retries": 3,
        "verify": True,
        "proxy": None,
        "allow_http": False,
        "allow_private_links": False,
        "guessed": False,
    }


@pytest.mark.parametrize(
    ("fields", "guessed"),
    [
        ({"host": "localhost:8000"}, True),
        ({"host": "localhost", "schema": "oxen"}, True),
        ({"host": "localhost", "schema": "https"}, False),
        ({"host": "https://localhost:8000"}, False),
        ({"port": 8000}, False),
    ],
    ids=str,
)
def test_scheme_that_nobody_has_given_is_a_guess(fields, guessed):
    assert Settings.from_fields(**fields).guessed is guessed


def test_key_that_is_needed_is_asked_for_by_its_field():
    Settings(api_key=KEY).need_key()
    with pytest.raises(OxenSettingsError, match=r"no password\. Put the API key into its password field"):
        Settings().need_key()


def test_all_fields_are_read():
    settings = Settings.from_fields(
        host="http://hub.internal:8080",
        password=f" {KEY}\n",
        extra={
            "api_layout": "ai",
            "target_namespace": " my-org ",
            "timeout": "120.5",
            "max_retries": "0",
            "verify": "/etc/ssl/ca.pem",
            "proxy": "http://user:secret@proxy.example:3128",
            "allow_http": "true",
            "allow_private_links": "yes",
        },
    )

    assert vars(settings) == {
        "base_url": "http://hub.internal:8080",
        "api_key": KEY,
        "api_layout": "ai",
        "target_namespace": "my-org",
        "timeout": 120.5,
        "connect_timeout": 10.0,
        "max_retries": 0,
        "verify": "/etc/ssl/ca.pem",
        "proxy": "http://user:secret@proxy.example:3128",
        "allow_http": True,
        "allow_private_links": True,
        "guessed": False,
    }


def test_representation_shows_neither_key_nor_proxy():
    shown = repr(Settings(api_key=KEY, proxy="http://user:secret@proxy.example"))

    assert "hub.oxen.ai" in shown
    assert KEY not in shown
    assert "secret" not in shown


def test_key_is_taken_out_of_a_text_from_elsewhere():
    assert Settings(api_key=KEY).redact(f"{KEY}, and {KEY}!") == "***, and ***!"
    assert Settings().redact("no key, nothing to hide") == "no key, nothing to hide"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "hub.oxen.ai"}, "https://hub.oxen.ai"),
        ({"host": "https://hub.oxen.ai/"}, "https://hub.oxen.ai"),
        ({"host": "hub.oxen.ai//"}, "https://hub.oxen.ai"),
        ({"host": " HTTPS://Hub.Oxen.ai "}, "https://hub.oxen.ai"),
        ({"host": "hub.oxen.ai:8443"}, "https://hub.oxen.ai:8443"),
        ({"host": "hub.oxen.ai", "port": 8443}, "https://hub.oxen.ai:8443"),
        ({"host": "https://hub.oxen.ai:1", "port": 2}, "https://hub.oxen.ai:1"),
        ({"host": "hub.oxen.ai", "schema": "https"}, "https://hub.oxen.ai"),
        ({"host": "localhost", "schema": " HTTP "}, "http://localhost"),
        ({"host": "hub.oxen.ai", "schema": "oxen"}, "https://hub.oxen.ai"),
        ({"host": "https://localhost", "schema": "http"}, "https://localhost"),
        ({"host": "[::1]:5000", "schema": "http"}, "http://[::1]:5000"),
        ({"host": "https://bücher.example"}, "https://bücher.example"),
        ({"port": 8443}, "https://hub.oxen.ai:8443"),
    ],
    ids=str,
)
def test_hub_is_found_in_host_schema_and_port(fields, url):
    assert Settings.from_fields(**fields).base_url == url


@pytest.mark.parametrize(
    "host",
    [
        "https://",
        "https://:443",
        "http:///path",
        "ftp://hub.oxen.ai",
        "oxen://hub.oxen.ai",
        "file:///etc/passwd",
        "https://[::1",
        "https://hub.oxen.ai:port",
        "https://hub.oxen.ai:99999",
        f"https://oxen:{KEY}",
        "https://hub\x01.oxen.ai",
        "https://€",
    ],
)
def test_host_that_is_no_url_of_a_hub_is_refused(host):
    assert problem(host=host).startswith(
        "The Oxen connection's host must be a URL such as https://hub.oxen.ai"
    )


@pytest.mark.parametrize(
    "host", ["https://user@hub.oxen.ai", f"https://:{KEY}@hub.oxen.ai", "https://a?b=c", "https://a#b"]
)
def test_host_holds_no_user_query_or_fragment(host):
    assert problem(host=host) == (
        "The Oxen connection's host must hold no user, query or fragment; the key goes into the password."
    )


@pytest.mark.parametrize(
    ("host", "path"), [("https://hub.oxen.ai/api", "/api"), ("https://a/b/", "/b/"), ("hub.oxen.ai/x", "/x")]
)
def test_host_holds_no_path(host, path):
    text = problem(host=host)

    assert f"holds {path!r}" in text
    assert f"give {DEFAULT_HOST}" in text


@pytest.mark.parametrize(
    "host",
    [
        "http://hub.oxen.ai",
        "http://10.0.0.7:8080",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://[2001:db8::1]",
        "http://0.0.0.0",
        "http://127.1",
    ],
)
def test_key_does_not_travel_in_the_clear_unless_that_is_meant(host):
    text = problem(host=host)

    assert text.startswith(
        f"http://{host.removeprefix('http://').partition(':8')[0].strip('[]')} would carry the"
    )
    assert "allow_http" in text
    assert problem(host=host, extra={"allow_http": "false"}) == text
    assert Settings.from_fields(host=host, extra={"allow_http": True}).base_url == host


@pytest.mark.parametrize(
    "host", ["http://localhost", "http://LOCALHOST:1", "http://127.0.0.1", "http://[::1]:5000"]
)
def test_this_machine_may_be_asked_in_the_clear(host):
    assert Settings.from_fields(host=host).base_url == host.lower()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("10.0.0.7", False),
        ("::2", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback_is_known_without_asking_dns(host, here):
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://hub.oxen.ai/a?b", ("https", "hub.oxen.ai", 443)),
        ("HTTP://Hub.Oxen.ai", ("http", "hub.oxen.ai", 80)),
        ("https://user@[::1]:8443/", ("https", "::1", 8443)),
        ("ftp://a", ("ftp", "a", None)),
        ("nothing", ("", "", None)),
    ],
)
def test_origin_spells_out_the_port(url, parts):
    assert origin(url) == parts


@pytest.mark.parametrize(
    "key", ["two words", "line\nbreak", "tab\there", "schlüssel", "zero\0byte", "a\x7fb"]
)
def test_key_that_no_header_can_hold_is_refused_unquoted(key):
    with pytest.raises(OxenSettingsError) as caught:
        Settings.from_fields(password=key)

    assert caught.value.message.startswith("The Oxen connection's password holds a space, a line break or")
    assert key not in str(caught.value)


@pytest.mark.parametrize("nothing", [None, "", {}, "{}", "null"], ids=repr)
def test_no_extra_is_none(nothing):
    assert Settings.from_fields(extra=nothing) == Settings()


def test_extra_is_read_from_its_json():
    assert Settings.from_fields(extra='{"target_namespace": "my-org"}').target_namespace == "my-org"


@pytest.mark.parametrize(
    "broken", ['{"target_namespace": "my-org"', "[1]", "5", [1], 5, [], f"key={KEY}"], ids=repr
)
def test_extra_that_is_no_object_is_refused_since_who_is_billed_may_stand_in_it(broken):
    assert problem(extra=broken) == "The Oxen connection's extra must be a JSON object."


def test_unknown_extras_are_named_with_the_known_ones():
    assert problem(extra={"timeout": 5, "retries": 1, "API_KEY": KEY, "empty": None, "blank": ""}) == (
        "Unknown extra field(s) 'API_KEY', 'retries' in the Oxen connection; known are api_layout, "
        "target_namespace, timeout, max_retries, verify, proxy, allow_http, allow_private_links."
    )


def test_key_in_the_name_of_an_extra_is_hidden_before_the_name_is_cut():
    text = problem(password=KEY, extra={f"{'x' * (55)}{KEY}": 1})

    assert KEY[:5] not in text
    assert f"'{'x' * 55}***'" in text


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("api_layout", "auto", "auto"),
        ("api_layout", "classic", "classic"),
        ("target_namespace", "  ", None),
        ("timeout", 1, 1.0),
        ("timeout", "86400", 86400.0),
        ("timeout", 0.5 + 1, 1.5),
        ("max_retries", 3.0, 3),
        ("max_retries", " 5 ", 5),
        ("verify", True, True),
        ("verify", "True", True),
        ("verify", "  ", True),
        ("verify", " /etc/ca ", "/etc/ca"),
        ("proxy", "  ", None),
        ("proxy", " https://proxy.example ", "https://proxy.example"),
        ("allow_http", True, True),
        ("allow_http", False, False),
        ("allow_http", " YES ", True),
        ("allow_http", 1, True),
        ("allow_http", "no", False),
        ("allow_http", 0, False),
        ("allow_private_links", " True ", True),
    ],
)
def test_extra_is_read(name, value, read):
    found = getattr(extra(**{name: value}), name)

    assert found == read
    assert type(found) is type(read)


BAD = [
    ("api_layout", ["new", "AUTO", 1, ["auto"]], "must be one of auto, classic, ai, not {!r}."),
    ("target_namespace", [5, ["my-org"], True], "must be a text, not {!r}."),
    (
        "timeout",
        [0, -1, 0.5, "soon", "true", True, False, [300], {}, float("nan"), float("inf"), 86401, 10**400],
        "must be a number from 1 to 86400, not {!r}.",
    ),
    (
        "max_retries",
        [-1, 1.5, "1.5", "many", True, [3], float("nan"), 10**400],
        "must be a whole number from 0 to 86400, not {!r}.",
    ),
    ("allow_http", ["maybe", 2, [True], "on"], "must be true or false, not {!r}."),
]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [(name, value, allowed) for name, values, allowed in BAD for value in values],
    ids=[f"{name}={str(value)[:20]}" for name, values, _ in BAD for value in values],
)
def test_extra_of_another_kind_is_refused_with_what_is_allowed(name, value, allowed):
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}…"

    assert problem(extra={name: value}) == f"The extra {name} {allowed.format(Shown(shown))}"


class Shown(str):
    """What a message shows of a value."""

    def __repr__(self) -> str:
        return str(self)


@pytest.mark.parametrize("value", [False, "false", " FALSE "])
def test_verifying_cannot_be_turned_off(value):
    assert "could read the key" in problem(extra={"verify": value})


@pytest.mark.parametrize(
    "value",
    [
        f"http://user:{KEY}@",
        f"http://user:{KEY}#x@proxy.example:3128",
        f"socks5://user:{KEY}@proxy.example",
        "proxy.example:3128",
        "//proxy.example",
        "http://\x01",
        3128,
        True,
        ["http://proxy.example"],
    ],
)
def test_proxy_that_is_none_is_refused_unquoted(value):
    assert problem(extra={"proxy": value}) == (
        "The extra proxy must be a URL such as http://proxy.example:3128."
    )


@pytest.mark.parametrize("schema", ["/hub.oxen.ai", "api", "key-that-must-not-leak"])
def test_what_stands_behind_the_host_of_a_uri_is_explained_and_not_shown(schema):
    with pytest.raises(OxenSettingsError, match="the part after the host is the schema") as caught:
        Settings.from_fields(host="https", schema=schema, password="key")

    assert schema not in str(caught.value).replace("oxen://:KEY@hub.oxen.ai", "").replace("oxen.ai", "")


def test_value_that_cannot_be_written_is_told_by_its_type():
    assert shown(10**5000) == "such a int"
