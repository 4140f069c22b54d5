"""What the local hub answers is what the hub's OpenAPI document requires; ``make contract`` asks Prism."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from airflow_provider_oxen.localhub.validation import spelt_out
from tests.conftest import ROOT
from tests.contract import document
from tests.contract.document import AMENDMENTS, Operations, served

SHARED = ROOT.parent / "shared"


@pytest.mark.skipif(not SHARED.is_dir(), reason="what the copy was made of is not here")
def test_document_is_a_copy_to_the_letter():
    assert document.PATH.read_bytes() == (SHARED / document.PATH.name).read_bytes()


def test_amended_document_differs_where_it_says_so_and_nowhere_else():
    changed = served()
    changed.pop("x-json-schema-faker")
    for amendment in AMENDMENTS:
        values: Any = changed
        for key in amendment.where:
            values = values[key]
        values.remove(amendment.value)
    assert changed == document.document()


def test_amendment_that_the_document_needs_no_more_is_an_error(monkeypatch):
    monkeypatch.setattr(document, "AMENDMENTS", (*AMENDMENTS, AMENDMENTS[0]))
    with pytest.raises(SystemExit, match="take the amendment out"):
        served()


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/api/ai/models/search", "GET /api/ai/models/search"),
        ("GET", "/api/ai/models/one", "GET /api/ai/models/{id}"),
        ("POST", "/api/ai/models/one/activate", "POST /api/ai/models/{id}/activate"),
        ("PATCH", "/api/ai/models/one", None),
        ("GET", "/api/events", None),
    ],
)
def test_request_is_of_one_operation_or_none(method, path, name):
    assert Operations().name(method, path) == name


@pytest.fixture(scope="module")
def validators() -> dict[str, jsonschema.Draft202012Validator]:
    """What holds the body of each operation's 200 against its schema, by the operation's name."""
    whole = served()

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(whole["components"]["schemas"][node["$ref"].rpartition("/")[2]])
        return {name: plain(value) for name, value in node.items()}

    def validator(operation: Any) -> jsonschema.Draft202012Validator:
        schema = spelt_out(plain(operation["responses"]["200"]["content"]["application/json"]["schema"]))
        jsonschema.Draft202012Validator.check_schema(schema)
        return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    return {
        f"{method.upper()} {path}": validator(operation)
        for path, methods in whole["paths"].items()
        for method, operation in methods.items()
    }


def test_answers_of_every_route_are_what_the_document_requires(hub, client, enqueue, validators):
    hub.settings.latency = 100
    ended, failed = enqueue(seed=7), enqueue(prompt="Forbidden")
    hub.settings.clock_ahead += 101
    goes_on = enqueue(target_namespace=None, target_repo="art")
    body = {"model": "z-image-turbo", "prompt": "A red cube"}
    hub.settings.latency = 0
    asked = [
        ("GET", "/api/ai/models", None),
        ("GET", "/api/ai/models/search?search=z", None),
        *(("GET", f"/api/ai/models/{entry['id']}", None) for entry in hub.settings.catalogue),
        ("POST", "/api/ai/images/generate", body),
        ("POST", "/api/ai/queue", {**body, "num_generations": 2}),
        ("GET", "/api/ai/queue", None),
        ("GET", "/api/ai/queue?status=succeeded", None),
        *((("GET", f"/api/ai/queue/{id}", None)) for id in (ended, failed, goes_on)),
        ("GET", "/api/ai/generations", None),
        # Nothing of it has been charged.
        ("GET", "/api/ai/generations?status=failed", None),
        *((("GET", f"/api/ai/generations/{id}", None)) for id in (ended, failed, goes_on)),
        ("DELETE", f"/api/ai/queue/{goes_on}", None),
        *(
            ("POST", f"/api/ai/models/local-user-brand-style/{step}", None)
            for step in ("activate", "deactivate")
        ),
    ]
    seen = set()
    for method, path, sent in asked:
        answer = client.request(method, path, json=sent)
        operation = Operations().name(method, path.partition("?")[0])
        seen.add(operation)
        assert answer.status_code == 200, (method, path, answer.text)
        validators[operation].validate(json.loads(answer.content))
    assert len(seen) == 12


def test_prism_is_pinned_by_names_versions_and_hashes_and_no_address():
    text = document.PATH.with_name("package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert packages.pop("")["dependencies"] == {"@stoplight/prism-cli": "5.14.2"}
    assert all(package["version"] and package["integrity"] for package in packages.values())
