"""What is trusted is what the connection or the environment says; where that cannot be read, it is named."""

from __future__ import annotations

import ssl

import pytest

from airflow_provider_oxen.api.errors import OxenSettingsError
from airflow_provider_oxen.api.tls import governing, ssl_context


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"])
def test_variable_that_leads_nowhere_is_named(monkeypatch, tmp_path, name):
    ssl_context(True)  # One of before helps nobody.
    monkeypatch.setenv(name, str(tmp_path / "missing" / "it"))

    with pytest.raises(OxenSettingsError, match=rf"The environment variable {name} \(/.*/it\) .*cannot be "):
        ssl_context(True)


def test_file_that_holds_no_certificate_is_named(monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with pytest.raises(OxenSettingsError, match=r"SSL_CERT_FILE .*cannot be read"):
        ssl_context(True)


def test_variables_say_what_is_trusted(monkeypatch, tmp_path, certificate):
    public = ssl_context(True)
    assert governing(True) is None

    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert ssl_context(True).get_ca_certs() == []
    assert governing(True) == f"the environment variable SSL_CERT_DIR ({tmp_path})"

    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    assert len(ssl_context(True).get_ca_certs()) == 1
    assert governing(True) == f"the environment variable SSL_CERT_FILE ({certificate})"
    assert governing("/etc/corp.pem") == "the connection's extra verify (/etc/corp.pem)"
    assert public is not ssl_context(True)
    assert ssl_context(True).verify_mode is ssl.CERT_REQUIRED


def test_secrets_are_logged_where_that_is_wanted(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))

    assert ssl_context(True).keylog_filename == str(tmp_path / "keys")


def test_missing_package_of_certificates_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "missing"))
    monkeypatch.setattr(
        "airflow_provider_oxen.api.tls._context", ssl_context.__globals__["_context"].__wrapped__
    )

    with pytest.raises(OxenSettingsError, match="of the package certifi cannot be read"):
        ssl_context(True)
