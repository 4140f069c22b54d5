"""What a store is told with each write: known names alone, and no credentials."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest
from airflow_provider_oxen.images import stores
from airflow_provider_oxen.images.storage import open_folder
from airflow_provider_oxen.images.stores import (
    GCS,
    S3,
    STORES,
    check,
    is_public,
    keywords,
    store_of,
    warn_of_old_driver,
)

SECRET = "value-that-must-not-leak"


@pytest.mark.parametrize("protocol", ["s3", "gs", "abfs", "sftp"])
def test_none_are_none(protocol):
    assert keywords(protocol, {}) == {}


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("s3", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:…", "BucketKeyEnabled": True}),
        ("s3a", {"Metadata": {"team": "art"}, "ACL": "private", "ContentType": "image/png"}),
        ("gcs", {"kms_key_name": "projects/p/…", "fixed_key_metadata": {"cache_control": "no-store"}}),
        ("sftp", {"anything": 1}),
    ],
)
def test_what_a_store_takes_is_handed_on(protocol, options):
    assert keywords(protocol, options) == options


@pytest.mark.parametrize(
    "options",
    [
        {"key": SECRET},
        {"secret": SECRET},
        {"token": SECRET},
        {"password": SECRET},
        {"aws_secret_access_key": SECRET},
        {"SSECustomerKey": SECRET},
        {"sas_token": SECRET},
        {"account_key": SECRET},
        {"connection_string": SECRET},
        {"credential": SECRET},
        {"client_kwargs": {"aws_access_key_id": SECRET}},
        {"Metadata": {"api_token": SECRET}},
        {"Tagging": f"AccountName=a;AccountKey={SECRET}"},
        {"Metadata": {"from": f"https://a.blob.core.windows.net/x?sig={SECRET}"}},
        {"Tagging": "AKIAIOSFODNN7EXAMPLE"},
        {"metadata": {"note": "-----BEGIN PRIVATE KEY-----"}},
    ],
)
@pytest.mark.parametrize("protocol", ["s3", "gs", "abfs", "sftp"])
def test_credentials_are_refused_and_not_told(protocol, options):
    with pytest.raises(OxenInvalidRequest, match=r"must hold no credentials.*storage_conn_id") as caught:
        keywords(protocol, options)
    assert SECRET not in str(caught.value)
    assert "AKIA" not in str(caught.value)


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("s3", {"ServerSideEncyption": "AES256"}),
        ("s3", {"IfNoneMatch": "*"}),
        ("s3", {"Body": b"other"}),
        ("s3", {"mode": "overwrite"}),
        ("gs", {"ServerSideEncryption": "AES256"}),
        ("abfs", {"overwrite": True}),
        ("abfs", {"metadata": {"team": "art"}}),
    ],
)
def test_name_that_a_store_does_not_take_is_refused(protocol, options):
    """Drivers drop it without a word, or it undoes what is promised of each write."""
    [name] = options
    with pytest.raises(OxenInvalidRequest, match=rf"for {protocol}:// must not hold '{name}'; allowed are "):
        keywords(protocol, options)


def test_value_that_azure_does_not_know_is_refused():
    pytest.importorskip("azure.storage.blob", reason="the stores' drivers are tested on the newest Airflow")
    with pytest.raises(OxenInvalidRequest, match="storage_options are not what Azure takes: "):
        keywords("abfs", {"standard_blob_tier": "Tepid"})


def test_folder_of_this_machine_takes_none(tmp_path):
    with pytest.raises(OxenInvalidRequest, match="a folder of this machine takes none"):
        open_folder(str(tmp_path), None, {"ACL": "private"})


def test_names_of_keys_are_no_keys():
    check({"SSEKMSKeyId": "arn:aws:kms:eu-west-1:1:key/2", "kms_key_name": "projects/p/…/cryptoKeys/k"})


# Drivers.


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(stores, "version", version)
    monkeypatch.setattr(stores, "_warned", set())
    return versions


@pytest.mark.parametrize(
    ("protocol", "name", "old"),
    [("s3", "s3fs", "2025.9.0"), ("gs", "gcsfs", "2024.10.0"), ("abfs", "adlfs", "2024.12.0")],
)
def test_driver_that_is_too_old_is_told_once(installed, caplog, protocol, name, old):
    installed[name] = old

    warn_of_old_driver(store_of(protocol))
    warn_of_old_driver(store_of(protocol))

    [record] = caplog.records
    [floor] = [store.floor for store in STORES if store.driver == name]
    assert f"{name} {old} is older than {floor[0]}.{floor[1]}" in record.getMessage()


@pytest.mark.parametrize("version", ["2026.9.0", "2027.1", "dev", None])
def test_driver_that_is_new_enough_or_unknown_is_not_told_of(installed, caplog, version):
    if version:
        installed["s3fs"] = version

    warn_of_old_driver(store_of("s3"))
    warn_of_old_driver(store_of("sftp"))

    assert caplog.records == []


def test_floors_are_those_of_the_extras(pytestconfig: Any) -> None:
    told = (pytestconfig.rootpath / "pyproject.toml").read_text()

    for store in STORES:
        assert f'"{store.driver}>={store.floor[0]}.{store.floor[1]}"' in told


@pytest.mark.parametrize(
    ("endpoint", "whose"),
    {
        "https://s3.amazonaws.com": S3,
        "https://s3.eu-west-1.amazonaws.com/": S3,
        "https://bucket.vpce-1a2b-3c4d.s3.us-east-1.vpce.amazonaws.com": S3,
        "https://s3.us-gov-west-1.amazonaws.com": None,
        "https://s3.cn-north-1.amazonaws.com.cn": None,
        "http://s3.amazonaws.com": None,
        "https://amazonaws.com.example": None,
        "https://example/s3.amazonaws.com": None,
        "http://minio:9000": None,
        "https://storage.googleapis.com": GCS,
        "https://storage.mtls.googleapis.com": GCS,
        "http://127.0.0.1:4443": None,
        "https://account.blob.core.windows.net": None,
        None: None,
    }.items(),
)
@pytest.mark.parametrize("store", [*STORES, None])
def test_whose_store_it_is_stands_in_its_endpoint(endpoint, whose, store):
    client = SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint))
    fs = SimpleNamespace(_location=endpoint) if store is GCS else SimpleNamespace(_s3=client)

    # Google's store speaks Amazon's protocol too, and is not in Amazon's console.
    assert is_public(store, fs) is (store is not None and store is whose)


@pytest.mark.parametrize("fs", [SimpleNamespace(), SimpleNamespace(_s3=None, endpoint_url=None)])
def test_what_no_driver_tells_is_nobodys_store(fs):
    assert not any(is_public(store, fs) for store in STORES)
