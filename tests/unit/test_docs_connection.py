"""Each connection that a page shows is one that the hook reads, with the hub and the key that it says."""

from __future__ import annotations

import re

import pytest

from airflow_provider_oxen.api.settings import DEFAULT_HOST
from airflow_provider_oxen.hooks.oxen import OxenHook

from ..conftest import ROOT
from .test_docs_blocks import PAGES

TEXT = "\n".join(page.read_text() for page in PAGES)
AS_JSON = sorted(set(re.findall(r"AIRFLOW_CONN_OXEN_DEFAULT='(.*?)'", TEXT)))
AS_URI = sorted(set(re.findall(r"`(oxen://[^`]+)`", (ROOT / "docs" / "connection.md").read_text())))
HUBS = {DEFAULT_HOST, "http://127.0.0.1:8750"}


def test_pages_show_both_forms():
    assert len(AS_JSON) >= 3
    assert len(AS_URI) == 3


@pytest.mark.parametrize("shown", [*AS_JSON, *AS_URI])
def test_it_is_read(shown, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OXEN_DEFAULT", shown)

    settings = OxenHook().settings()

    assert settings.base_url in HUBS
    assert settings.api_key in ("YOUR-KEY", "local-key")
    assert settings.target_namespace in (None, "my-org")
