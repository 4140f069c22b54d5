"""Google's and Azure's stores, through their drivers, over real sockets: what is promised of S3 holds too."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import airflow
import pytest

from airflow_provider_oxen.api.errors import OxenInvalidRequest, OxenStoreUnavailable
from airflow_provider_oxen.images.objects import ObjectFolder
from airflow_provider_oxen.images.storage import with_store_errors
from airflow_provider_oxen.images.stores import keywords

from .azure_blobs import AzureBlobs
from .gcs import Gcs
from .rest import Reply

MARK = "0123456789abcdef.1"
BIG = bytes(range(256)) * 4096 * 9
"""More than is written at once."""

# The closure of Airflow 2.11 has neither driver; that of 3.3 has both, and a missing one is a failure there.
pytestmark = [
    pytest.mark.skipif(
        airflow.__version__ < "3" and not find_spec("gcsfs"), reason="no drivers in this closure"
    ),
    # Of Google's driver, about its own way of sending.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]


class Kind:
    """One of the stores.

    :ivar scheme: of its URLs.
    """

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.server: Any = Gcs() if scheme == "gs" else AzureBlobs()

    def folder(self, bucket: str = "bucket", **options: Any) -> ObjectFolder:
        # A prefix of its own: what a folder's store promises is remembered by its URL.
        path = f"{bucket}/{uuid.uuid4().hex}"
        return ObjectFolder(self._driver(), self.scheme, path, None, keywords(self.scheme, options))

    def _driver(self) -> Any:
        if self.scheme == "gs":
            from gcsfs.core import GCSFileSystem

            fs = GCSFileSystem(
                project="test", token="anon", endpoint_url=self.server.url, skip_instance_cache=True
            )
            return fs
        from adlfs import AzureBlobFileSystem

        return AzureBlobFileSystem(connection_string=self.server.connection_string, skip_instance_cache=True)

    @property
    def objects(self) -> dict[str, bytes]:
        return {key.rpartition("/")[2]: content for key, content in self.server.buckets["bucket"].items()}

    @property
    def told(self) -> dict[str, Any]:
        [told] = self.server.told.values()
        return dict(told)


@pytest.fixture(params=["gs", "abfs"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    kind = Kind(request.param)
    with kind.server.running():
        yield kind


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the drivers repeat without waiting."""
    from azure.storage.blob._shared.policies_async import AsyncStorageRetryPolicy

    async def no_wait(*arguments: Any) -> None:
        return

    monkeypatch.setattr(AsyncStorageRetryPolicy, "sleep", no_wait)
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=no_wait))


def refusing(status: int, body: bytes = b"{}") -> Any:
    return lambda call: Reply(status, body) if call.method in ("PUT", "POST") else None


@pytest.mark.parametrize("size", [0, 5, len(BIG)], ids=["empty", "whole", "parts"])
def test_object_is_created_once_and_comes_back_as_it_was(kind, size):
    folder = kind.folder()

    assert folder.create("hero.png", io.BytesIO(BIG[:size]), MARK)
    assert not folder.create("hero.png", io.BytesIO(b"x" * (size + 1)), MARK)
    assert folder.create("hero.png", io.BytesIO(BIG[:size]), MARK)  # what a repeated put comes to

    assert kind.objects == {"hero.png": BIG[:size]}
    assert folder.size("hero.png") == size


@pytest.mark.parametrize("size", [5, len(BIG)], ids=["whole", "parts"])
def test_object_is_replaced(kind, size):
    folder = kind.folder()
    folder.put("hero.png", io.BytesIO(b"old"), MARK)
    folder.put("hero.png", io.BytesIO(BIG[:size]), MARK)

    assert kind.objects == {"hero.png": BIG[:size]}


def test_files_of_a_folder_are_listed_read_and_removed(kind):
    folder = kind.folder()
    assert list(folder.names()) == []
    assert folder.read("hero.json") is None

    folder.put("hero.json", io.BytesIO(b"{}"), MARK)

    assert list(folder.names()) == ["hero.json"]
    assert folder.read("hero.json") == b"{}"
    folder.remove("hero.json")
    assert folder.size("hero.json") is None


def test_write_whose_answer_was_lost_is_ones_own(kind, at_once):
    """The driver repeats it, and the store says that it is taken."""
    folder = kind.folder()
    kind.server.lost = 1

    assert folder.create("hero.png", b"mine", MARK)

    assert kind.objects == {"hero.png": b"mine"}


def test_place_is_proved_and_nothing_stays(kind):
    assert kind.folder().prove(MARK)
    assert kind.objects == {}


@pytest.mark.parametrize("size", [5, len(BIG)], ids=["whole", "parts"])
def test_server_that_ignores_conditions_is_found_out(kind, size):
    kind.server.blind = True
    folder = kind.folder()

    assert not folder.prove(MARK)
    assert folder.create("hero.png", io.BytesIO(BIG[:size]), MARK)
    assert not folder.create("hero.png", b"other", MARK)
    assert kind.objects == {"hero.png": BIG[:size]}


def test_missing_bucket_is_an_error_that_time_does_not_mend(kind):
    folder = kind.folder("missing")
    folder.check()

    with pytest.raises(OxenInvalidRequest, match="cannot be written to"):
        with_store_errors(folder, lambda: folder.prove(MARK))


@pytest.mark.parametrize("status", [403, 400])
def test_refused_write_is_an_error_that_time_does_not_mend(kind, status):
    folder = kind.folder()
    kind.server.fault = refusing(status)

    with pytest.raises(OxenInvalidRequest, match="cannot be written to"):
        with_store_errors(folder, lambda: folder.prove(MARK))
    assert kind.objects == {}


def test_place_where_nothing_may_be_removed_is_proved_all_the_same(kind):
    folder = kind.folder()
    kind.server.fault = lambda call: Reply(403, b"{}") if call.method == "DELETE" else None

    assert folder.prove(MARK)
    assert ".oxen-probe" in kind.objects


def test_key_that_may_not_look_at_the_bucket_may_still_write(kind):
    folder = kind.folder()
    folder.check()

    assert kind.server.asked == []


@pytest.mark.parametrize("size", [5, len(BIG)], ids=["whole", "parts"])
def test_google_is_told_the_options_with_each_write(size):
    kind = Kind("gs")
    with kind.server.running():
        folder = kind.folder(
            kms_key_name="projects/p/locations/l/keyRings/r/cryptoKeys/k",
            metadata={"team": "art"},
            content_type="image/x-own",
            fixed_key_metadata={"cache_control": "no-store"},
        )
        folder.create("hero.png", io.BytesIO(BIG[:size]), MARK)
        created = kind.told
        folder.put("hero.png", io.BytesIO(BIG[:size]), MARK)

    for told in (created, kind.told):
        assert told["kmsKeyName"] == "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        assert told["metadata"] == {"team": "art"}
        assert told["contentType"] == "image/x-own"
        assert told["cacheControl"] == "no-store"


@pytest.mark.parametrize("size", [5, len(BIG)], ids=["whole", "parts"])
def test_azure_is_told_the_options_with_each_write(size):
    kind = Kind("abfs")
    with kind.server.running():
        folder = kind.folder(
            content_settings={"content_type": "image/x-own", "cache_control": "no-store"},
            encryption_scope="scope",
            standard_blob_tier="Cool",
            tags={"team": "art"},
        )
        # The real one writes up to 64 MiB at once.
        folder.fs.service_client._config.max_single_put_size = 1024
        folder.create("hero.png", io.BytesIO(BIG[:size]), MARK)
        created = kind.told
        folder.put("hero.png", io.BytesIO(BIG[:size]), MARK)

    assert kind.objects == {"hero.png": BIG[:size]}
    for told in (created, kind.told):
        assert told["x-ms-blob-content-type"] == "image/x-own"
        assert told["x-ms-blob-cache-control"] == "no-store"
        assert told["x-ms-encryption-scope"] == "scope"
        assert told["x-ms-access-tier"] == "Cool"
        assert told["x-ms-tags"] == "team=art"


def test_store_that_does_not_answer_is_asked_again_later(kind, at_once):
    folder = kind.folder()
    kind.server.fault = refusing(503)

    with pytest.raises(OxenStoreUnavailable, match="takes no files now"):
        with_store_errors(folder, lambda: folder.prove(MARK))
