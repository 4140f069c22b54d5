"""What Airflow is told of as assets: only what its server takes, spelled as it is spelled everywhere."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_oxen.tasks.assets import OutputFile, add_asset_events, asset, asset_uri, plain
from airflow_provider_oxen.tasks.lineage import report_lineage

IS_3 = hasattr(Asset, "ref")

MADE = OutputFile("s3://my_conn@bucket/a/b.png", {"sha256": "x"}, 7, 1, "x")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("s3://my_conn@bucket/a.png", "s3://bucket/a.png"),
        ("s3://bucket/a.png?X-Signature=secret", "s3://bucket/a.png"),
        ("/a@b/c.png", "/a@b/c.png"),
    ],
)
def test_a_path_is_told_without_connection_and_signature(path, told):
    assert plain(path) == told


PATHS = [
    ("/data/ds=2026-01-01/a b.png", "file:///data/ds=2026-01-01/a b.png"),
    ("/data/100%/manual__2026-01-01T00:00:00+00:00/[a]~.png",) * 2,
    ("/data/grün/b.png", "file:///data/gr%C3%BCn/b.png"),
    ("s3://my_conn@bucket/ds=1/a b%20c.png", "s3://bucket/ds=1/a b%20c.png"),
    ("s3://bucket/画像/b.png", "s3://bucket/%E7%94%BB%E5%83%8F/b.png"),
    ("s3://bucket//b.png", "s3://bucket//b.png"),
    ("gs://bucket/b.png", "gs://bucket/b.png"),
]
PATHS[1] = (PATHS[1][0], f"file://{PATHS[1][0]}")


@pytest.mark.parametrize(("path", "uri"), PATHS)
def test_a_file_is_spelled_as_airflow_spells_it_and_in_ascii(path, uri):
    assert asset_uri(path) == uri
    made = asset(path)

    # As whoever waits for it has written it.
    assert made == Asset(uri)
    assert made.uri == uri
    assert made.uri.isascii()
    assert getattr(made, "name", uri) == uri


@pytest.mark.skipif(not IS_3, reason="Airflow 2 knows a dataset by its URI alone")
def test_a_scheme_that_airflow_spells_otherwise_names_the_asset_too(monkeypatch):
    from airflow.sdk.definitions import asset as assets

    monkeypatch.setattr(
        assets,
        "_get_uri_normalizer",
        lambda scheme: lambda parts: parts._replace(netloc=parts.netloc.lower()),
    )

    made = asset("odd://Bucket/a.png")

    assert (made.name, made.uri) == ("odd://bucket/a.png",) * 2


class Events:
    """Airflow's accessors of outlet events, and what was given to them.

    :ivar declared: names of the assets that Dags have declared, by URI.
    """

    def __init__(self, **declared: str) -> None:
        self.declared = declared
        self.extra: dict[str, Any] = {}
        self.added: list[tuple[str, Any]] = []

    def __getitem__(self, outlet: Any) -> Events:
        return self

    def add(self, one: Any, extra: Any) -> None:
        if type(one).__name__ == "AssetUriRef":
            self.added.append((self.declared[one.uri], extra))
        else:
            self.added.append((getattr(one, "name", one.uri), extra))


def told(events: Any, made: list[OutputFile], *outlets: Any) -> Any:
    operator = SimpleNamespace(outlets=list(outlets), log=logging.getLogger("task"))
    add_asset_events(operator, {"outlet_events": events}, made)
    return events


def facts_of(extra: Any) -> Any:
    return extra["oxen"] if IS_3 else json.loads(extra["oxen"])


def test_an_alias_gets_an_event_for_each_output():
    events = told(Events(), [MADE, MADE._replace(path="/c.png")], AssetAlias("pictures"))

    assert [name for name, _ in events.added] == ["s3://bucket/a/b.png", "file:///c.png"]
    assert facts_of(events.added[0][1]) == {"sha256": "x"}


@pytest.mark.skipif(not IS_3, reason="Airflow 2 has no names")
def test_an_asset_that_a_dag_has_declared_under_a_name_is_the_one():
    events = told(Events(**{"s3://bucket/a/b.png": "banner"}), [MADE], AssetAlias("pictures"))

    assert [name for name, _ in events.added] == ["banner"]


def test_an_asset_or_a_reference_to_one_gets_the_facts_and_other_outlets_nothing():
    outlets = [Asset("s3://bucket/x"), *([Asset.ref(uri="s3://b/x"), Asset.ref(name="x")] if IS_3 else [])]
    for outlet in outlets:
        assert told(Events(), [MADE], outlet).extra == {"oxen": {"sha256": "x"}}
    assert told(Events(), [], outlets[0]).extra == {}
    assert told(Events(), [MADE], "a table").extra == {}


REFUSED = {
    "a path that is too long": MADE._replace(path=f"/{'a' * 4000}"),
    "a path that is not text": MADE._replace(path="/\ud800"),
    "too many facts": MADE._replace(facts={"models": ["x" * 1000] * 66}),
    "a number that JSON lacks": MADE._replace(facts={"cost": float("nan")}),
    "a number that Airflow lacks": MADE._replace(facts={"seed": 2**64}),
    "half a character": MADE._replace(facts={"model": "\ud800"}),
    "no JSON": MADE._replace(facts={"model": object()}),
}


@pytest.mark.parametrize("made", REFUSED.values(), ids=list(REFUSED))
def test_what_airflows_server_would_refuse_is_a_warning(made, caplog):
    events = told(Events(), [made, MADE], AssetAlias("pictures"))

    assert [name for name, _ in events.added] == ["s3://bucket/a/b.png"]
    assert "there is no event under the alias 'pictures': " in caplog.text
    assert "The output is kept" in caplog.text


def test_an_event_that_takes_no_facts_is_a_warning(caplog):
    class Away(dict[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            raise RuntimeError("no such event at https://hub.example/?signature=x.")

    told(Away(), [MADE], Asset("s3://bucket/x"))

    assert (
        "tells nothing of the output: RuntimeError: no such event at https://hub.example/. The" in caplog.text
    )


def test_lineage_is_told_the_same_of_every_file_that_it_takes(monkeypatch, tmp_path, caplog):
    from airflow.providers.common.compat.lineage import hook

    from airflow_provider_oxen.images.storage import LocalFolder

    reported = []

    class Collector:
        def add_output_asset(self, context: Any, uri: str) -> None:
            reported.append(uri)

    monkeypatch.setattr(hook, "get_hook_lineage_collector", Collector)
    folder = LocalFolder(f"{tmp_path}/ds=1/ä")

    report_lineage(folder, ["a" * 4000, "b c.png"])

    assert reported == [f"file://{tmp_path}/ds=1/%C3%A4/b c.png"]
    assert "could not be reported" in caplog.text
