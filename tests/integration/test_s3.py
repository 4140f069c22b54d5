"""Images in an object store: a real S3 server, through Airflow's own connection and driver."""

from __future__ import annotations

import base64
import gc
import hashlib
import io
import json
import threading
from functools import lru_cache
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath
from PIL import Image

from airflow_provider_oxen.api.client import Client
from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenImageError,
    OxenInvalidRequest,
    OxenOutputExists,
    OxenStorageError,
    OxenStoreUnavailable,
)
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.api.settings import Settings
from airflow_provider_oxen.images import download, sidecar
from airflow_provider_oxen.images.keep import Keeper
from airflow_provider_oxen.images.storage import ObjectFolder, open_folder, with_store_errors
from airflow_provider_oxen.jobs.filestore import FileRecordStore
from airflow_provider_oxen.jobs.record import Record

from .s3 import CONN_ID, S3, bucket, server  # noqa: F401 - fixtures

IDENTITY = "0123456789abcdef" * 4
WRITER = "0123456789abcdef.1"
BIG = 20 * 1024 * 1024
"""Bytes of an object that goes up in three parts."""


@lru_cache
def picture(side: int = 8, size: int = 0) -> bytes:
    """Return a PNG, with bytes behind its end up to a size."""
    written = io.BytesIO()
    Image.new("RGB", (side, side), (side, 0, 0)).save(written, "PNG")
    return written.getvalue().ljust(size, b"\0")


def summed(content: bytes) -> str:
    return f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"


def folder(s3: S3, prefix: str = "out") -> ObjectFolder:
    opened = open_folder(f"s3://{s3.bucket}/{prefix}".rstrip("/"), CONN_ID)
    assert isinstance(opened, ObjectFolder)
    return opened


def keeper(s3: S3, slept: list[float] | None = None, **options: Any) -> Keeper:
    return Keeper(
        **{
            "api_key": None,
            "folder": folder(s3),
            "stem": "hero",
            "facts": {"fingerprint": "f1"},
            "writer_id": WRITER,
            "sleep": ([] if slept is None else slept).append,
            **options,
        }
    )


def items(*contents: bytes) -> list[ImageItem]:
    return [ImageItem(b64_json=base64.b64encode(content).decode()) for content in contents]


# What is asked of the store.


def test_image_and_sidecar_take_one_put_each(s3):
    [record] = keeper(s3).keep(items(picture()))

    assert s3.written == ["PUT hero.png", "PUT hero.json"]
    assert not any(asked.copies for asked in s3.server.asked)
    assert s3.content("out/hero.png") == picture()
    assert json.loads(s3.content("out/hero.json"))["sha256"] == record["sha256"]
    assert s3.keys() == ["out/hero.json", "out/hero.png"]


def test_first_sidecar_of_an_answer_is_put_last_of_all(s3):
    keeper(s3).keep(items(picture(8), picture(9), picture(10)))

    assert s3.written == [
        "PUT hero.png", "PUT hero-2.png", "PUT hero-3.png",
        "PUT hero-3.json", "PUT hero-2.json", "PUT hero.json",
    ]  # fmt: skip


def test_big_image_goes_up_in_parts_and_is_completed_once(s3):
    keeper(s3).keep(items(picture(8, BIG)))

    assert s3.written == [
        "POST hero.png?uploads", "PUT hero.png?partNumber", "PUT hero.png?partNumber",
        "PUT hero.png?partNumber", "POST hero.png?uploadId", "PUT hero.json",
    ]  # fmt: skip
    assert summed(s3.content("out/hero.png")) == summed(picture(8, BIG))
    assert s3.unfinished() == []


def test_bucket_itself_is_a_folder(s3):
    folder(s3, "").put("hero.png", io.BytesIO(b"12345"), WRITER)

    assert s3.keys() == ["hero.png"]
    assert folder(s3, "").size("hero.png") == 5


@pytest.mark.parametrize("prefix", ["a b/100%/ü", "deep/er", "+&=;,@:"])
def test_any_prefix_works(s3, prefix):
    keeper(s3, folder=folder(s3, prefix)).keep(items(picture()))

    assert s3.keys() == [f"{prefix}/hero.json", f"{prefix}/hero.png"]
    assert sidecar.find(folder(s3, prefix), "hero", "f1", overwrite=False) is not None
    assert ObjectStoragePath(folder(s3, prefix).uri("hero.png")).read_bytes() == picture()


@pytest.mark.parametrize("in_the_url", [True, False])
def test_path_opens_with_the_connection_it_names(s3, in_the_url):
    place = open_folder(f"{s3.url}/out", None) if in_the_url else folder(s3)
    keeper(s3, folder=place).keep(items(picture()))

    assert place.uri("hero.png") == f"s3://{CONN_ID}@{s3.bucket}/out/hero.png"
    assert place.asset_uri("hero.png") == f"s3://{s3.bucket}/out/hero.png"
    assert ObjectStoragePath(place.uri("hero.png")).read_bytes() == picture()


def test_check_asks_for_the_bucket_and_writes_nothing(s3):
    folder(s3).check()

    assert s3.written == []
    with pytest.raises(FileNotFoundError, match="there is no bucket 'nowhere-at-all'"):
        open_folder("s3://nowhere-at-all/out", CONN_ID).check()
    s3.fail("HEAD", status=403, code="AccessDenied")
    folder(s3).check()


# Writes that break off.


class Breaking(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 9_000_000:
            raise OSError("the source broke")
        return super().read(size)


@pytest.mark.usefixtures("own_garbage")
def test_source_that_breaks_after_the_first_part_commits_nothing(s3):
    with pytest.raises(OSError, match="the source broke"):
        folder(s3).put("hero.png", Breaking(picture(8, BIG)), WRITER)
    gc.collect()

    assert s3.keys() == []
    assert s3.unfinished() == []
    assert s3.written[0] == "POST hero.png?uploads"
    assert s3.written[-1] == "DELETE hero.png?uploadId"
    assert "POST hero.png?uploadId" not in s3.written


@pytest.mark.parametrize(
    ("method", "query"),
    [("POST", "uploads"), ("PUT", "partNumber=1"), ("PUT", "partNumber=3"), ("POST", "uploadId")],
)
@pytest.mark.usefixtures("own_garbage")
def test_upload_that_breaks_off_leaves_the_old_object_and_no_upload(s3, method, query):
    s3.put("out/hero.png", b"old")
    s3.fail(method, query)

    with pytest.raises(OSError, match="as told"):
        folder(s3).put("hero.png", io.BytesIO(picture(8, BIG)), WRITER)
    gc.collect()

    assert s3.content("out/hero.png") == b"old"
    assert s3.unfinished() == []


@pytest.mark.parametrize("size", [0, BIG])
def test_write_is_repeated_from_its_beginning(s3, size):
    failed: list[Any] = []

    def fail_twice(asked: Any) -> tuple[int, str] | None:
        if asked.method != "PUT" or len(failed) == 2 or (size and "partNumber=2" not in asked.query):
            return None
        failed.append(asked)
        return 503, "ServiceUnavailable"

    s3.server.fault = fail_twice
    slept: list[float] = []

    keeper(s3, slept).keep(items(picture(8, size)))

    assert slept == [1, 2]
    assert summed(s3.content("out/hero.png")) == summed(picture(8, size))
    assert s3.unfinished() == []


def test_write_that_keeps_failing_is_an_error_of_the_store(s3):
    s3.fail("PUT", status=403, code="AccessDenied")
    slept: list[float] = []

    with pytest.raises(OxenStorageError, match=rf"s3://{s3.bucket}/out/hero.png: 6 attempts failed"):
        keeper(s3, slept).keep(items(picture()))
    assert slept == [1, 2, 4, 8, 16]
    assert s3.keys() == []


# What is there.


def test_kept_output_is_found_and_what_is_doubtful_is_not_taken(s3):
    place = folder(s3)
    assert sidecar.find(place, "hero", "f1", overwrite=False) is None
    records = keeper(s3).keep(items(picture(8), picture(9)))
    s3.server.asked.clear()

    again = sidecar.find(place, "hero", "f1", overwrite=False) or []
    assert [kept["sha256"] for kept in again] == [record["sha256"] for record in records]
    assert s3.written == []

    s3.put("out/hero-2.png", b"cut")
    with pytest.raises(OxenOutputExists, match=rf"hero-2\.png has 3 bytes instead of {len(picture(9))}"):
        sidecar.find(place, "hero", "f1", overwrite=False)
    s3.client.delete_object(Bucket=s3.bucket, Key="out/hero.json")
    with pytest.raises(OxenOutputExists, match="without the sidecar"):
        sidecar.find(place, "hero", "f1", overwrite=False)


def test_what_another_worker_wrote_is_seen_whatever_was_listed_before(s3):
    place = folder(s3)
    s3.put("out/other.txt", b"")
    listed = ObjectStoragePath(f"{s3.url}/out")
    assert [path.name for path in listed.iterdir()] == ["other.txt"]
    s3.put("out/hero.png", b"theirs")
    assert [path.name for path in listed.iterdir()] == ["other.txt"], (
        "the driver no longer remembers listings"
    )

    assert place.size("hero.png") == 6
    with pytest.raises(OxenOutputExists, match="without the sidecar"):
        sidecar.find(place, "hero", "f1", overwrite=False)


def test_object_that_another_worker_replaced_has_its_new_size(s3):
    place = folder(s3)
    s3.put("out/hero.png", b"old")
    assert [path.name for path in ObjectStoragePath(f"{s3.url}/out").iterdir()] == ["hero.png"]
    s3.put("out/hero.png", b"newer")

    assert place.size("hero.png") == 5


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (403, "AccessDenied")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_store_that_cannot_tell_is_no_free_place(s3, method, status, code):
    s3.fail(method, status=status, code=code)

    place = folder(s3)
    # Who reads asks once, for the content.
    reads = [place.read] if method == "GET" else []
    for ask in (place.size, *reads, lambda stem: sidecar.is_free(place, stem)):
        with pytest.raises(OSError, match=r"as told|Forbidden|Internal Server Error"):
            ask("hero")
    with pytest.raises(OSError, match=r"as told|Forbidden|Internal Server Error"):
        sidecar.find(folder(s3), "hero", "f1", overwrite=False)


def test_rejected_bytes_never_cover_earlier_ones(s3):
    for content in (b"first", b"second"):
        with pytest.raises(OxenBadImage):
            keeper(s3).keep(items(content))

    assert s3.content("out/hero.rejected") == b"first"
    assert s3.content("out/hero.2.rejected") == b"second"
    assert s3.written == [
        "PUT hero.rejected", "PUT hero.rejected.json", "PUT hero.2.rejected", "PUT hero.2.rejected.json",
    ]  # fmt: skip


def test_replaced_output_is_put_and_nothing_is_deleted(s3):
    keeper(s3).keep(items(picture(8), picture(9)))
    s3.server.asked.clear()

    keeper(s3, facts={"fingerprint": "f2"}, replacing=True).keep(items(picture(10)))

    assert s3.written == ["PUT hero.json", "PUT hero.png", "PUT hero.json"]
    assert s3.content("out/hero.png") == picture(10)
    assert len(sidecar.find(folder(s3), "hero", "f2", overwrite=False) or []) == 1


def test_image_that_another_task_put_there_meanwhile_keeps_its_place(s3):
    s3.put("out/hero.webp", b"theirs")

    [record] = keeper(s3).keep(items(picture()))

    assert record["file"] == "hero-0123456789abcdef.png"
    assert s3.content("out/hero.webp") == b"theirs"


@pytest.mark.parametrize("size", [0, BIG])
def test_writers_of_one_object_never_make_a_mixture(s3, size):
    contents = [picture(side, size) for side in (8, 9, 10)]
    failed: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            folder(s3).put("hero.png", io.BytesIO(content), WRITER)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert summed(s3.content("out/hero.png")) in [summed(content) for content in contents]
    assert s3.unfinished() == []


def test_tasks_in_one_folder_keep_what_is_theirs(s3):
    failed: list[BaseException] = []

    def keep(number: int) -> None:
        try:
            keeper(s3, stem=f"hero-{number:016x}", writer_id=f"{number:016x}.1").keep(
                items(picture(8 + number))
            )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert [s3.content(f"out/hero-{number:016x}.png") for number in range(4)] == [
        picture(8 + number) for number in range(4)
    ]
    assert len(s3.keys()) == 8


@pytest.mark.parametrize("size", [0, BIG], ids=["whole", "parts"])
@pytest.mark.parametrize("same", [True, False])
def test_two_tasks_with_one_path_lose_nothing(s3, size, same):
    """Both have looked before one of them writes: the store decides."""
    identities = (IDENTITY[:16], IDENTITY[16:32][::-1])
    contents = [picture(8, size), picture(8 if same else 9, size)]
    both, met = threading.Barrier(2, timeout=60), threading.local()
    kept: dict[str, Any] = {}

    def meet(asked: Any) -> None:
        # Each connection is served by a thread of its own.
        is_write = asked.method == "PUT" or "uploads" in asked.query
        if is_write and asked.path.endswith("/hero.png") and not getattr(met, "done", False):
            met.done = True
            both.wait()

    s3.server.before = meet

    def keep(identity: str, content: bytes) -> None:
        facts = {"fingerprint": identity, "identity": identity}
        [kept[identity]] = keeper(s3, writer_id=f"{identity}.1", facts=facts).keep(items(content))

    threads = [threading.Thread(target=keep, args=pair) for pair in zip(identities, contents, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for identity, content in zip(identities, contents, strict=True):
        stem = kept[identity]["file"].removesuffix(".png")
        assert stem in ("hero", f"hero-{identity}")
        assert summed(s3.content(f"out/{stem}.png")) == summed(content)
        assert json.loads(s3.content(f"out/{stem}.json"))["identity"] == identity
    assert len({record["file"] for record in kept.values()}) == 2
    assert s3.unfinished() == []


@pytest.mark.parametrize("size", [0, BIG], ids=["whole", "parts"])
def test_write_whose_answer_was_lost_is_ones_own(s3, size):
    s3.server.lost = 1 if not size else 0
    if size:
        completed: list[Any] = []

        def lose(asked: Any) -> None:
            if "uploadId" in asked.query and asked.method == "POST" and not completed:
                completed.append(asked)
                s3.server.lost = 1

        s3.server.before = lose

    [record] = keeper(s3).keep(items(picture(8, size)))

    assert record["file"] == "hero.png"
    assert s3.keys() == ["out/hero.json", "out/hero.png"]
    assert summed(s3.content("out/hero.png")) == summed(picture(8, size))


# Before anything is spent.


def test_place_is_proved_and_nothing_stays(s3):
    assert folder(s3).prove(WRITER)

    assert [written.partition("-")[2].split("-")[0] for written in s3.written] == ["probe"] * 3
    assert [asked.method for asked in s3.server.asked if asked.method in ("PUT", "DELETE")] == [
        "PUT", "PUT", "DELETE",
    ]  # fmt: skip
    assert s3.keys() == []


def test_server_that_ignores_conditions_is_found_out(s3):
    s3.server.blind = True

    assert not folder(s3).prove(WRITER)
    assert s3.keys() == []


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (400, "InvalidRequest"), (404, "NoSuchBucket")]
)
def test_place_that_takes_no_files_is_an_error_that_time_does_not_mend(s3, status, code):
    s3.fail("PUT", status=status, code=code)

    with pytest.raises(OxenInvalidRequest, match=r"cannot be written to: .*storage_options"):
        with_store_errors(folder(s3), lambda: folder(s3).prove(WRITER))


def test_place_that_takes_no_files_now_may_later(s3):
    s3.fail("PUT", status=503, code="SlowDown")

    with pytest.raises(OxenStoreUnavailable, match="takes no files now"):
        with_store_errors(folder(s3), lambda: folder(s3).prove(WRITER))

    s3.mend()
    assert folder(s3).prove(WRITER)


@pytest.mark.parametrize("size", [0, BIG], ids=["whole", "parts"])
def test_store_is_told_the_options_with_each_write(s3, size):
    options = {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "arn:aws:kms:us-east-1:123456789012:key/own",
        "ACL": "bucket-owner-full-control",
        "ContentType": "image/x-own",
        "Metadata": {"team": "art"},
    }
    place = open_folder(f"s3://{s3.bucket}/out", CONN_ID, options)
    s3.server.asked.clear()

    keeper(s3, folder=place).keep(items(picture(8, size)))
    keeper(s3, folder=place, replacing=True).keep(items(picture(9, size)))

    for key in ("out/hero.png", "out/hero.json"):
        found = s3.client.head_object(Bucket=s3.bucket, Key=key)
        assert found["ServerSideEncryption"] == "aws:kms"
        assert found["SSEKMSKeyId"] == options["SSEKMSKeyId"]
        assert found["ContentType"] == "image/x-own"
        assert found["Metadata"] == {"team": "art"}
    begun = [asked for asked in s3.server.asked if asked.method == "PUT" or "uploads" in asked.query]
    assert all(asked.acl for asked in begun if "partNumber" not in asked.query)


# One image to one path.


def test_download_puts_the_object(s3):
    client = Client(Settings(), transport=httpx.MockTransport(lambda request: httpx.Response(404)))
    [item] = items(picture())
    path = f"{s3.url}/cubes/cube.png"

    assert download.to_path(client, item, path, overwrite=False)["path"] == path
    assert [written for written in s3.written if "oxen-probe" not in written] == ["PUT cube.png"]
    assert s3.keys() == ["cubes/cube.png"]
    assert s3.content("cubes/cube.png") == picture()

    with pytest.raises(OxenStorageError, match="is there already"):
        download.to_path(client, item, path, overwrite=False)
    download.to_path(client, items(picture(9))[0], path, overwrite=True)
    assert s3.content("cubes/cube.png") == picture(9)


def test_download_into_a_bucket_that_is_not_there_is_an_error_of_the_store(s3):
    client = Client(Settings(), transport=httpx.MockTransport(lambda request: httpx.Response(404)))

    with pytest.raises(OxenImageError, match="there is no bucket"):
        download.to_path(client, items(picture())[0], f"s3://{CONN_ID}@nowhere-at-all/c.png", overwrite=True)


# The record of a paid job.


@pytest.fixture
def home(s3) -> FileRecordStore:
    return FileRecordStore(folder(s3), "hero", IDENTITY, WRITER)


def job(**changes: Any) -> Record:
    facts: dict[str, Any] = {
        "phase": "intent",
        "nonce": "first",
        "identity": IDENTITY,
        "time": 1.0,
        "endpoint": "queue",
        "body": {"model": "m", "prompt": "p"},
        "origin": "https://hub.example",
        "fingerprint": "f",
    }
    return Record(**{**facts, **changes})


def test_record_is_created_where_there_is_none_and_read_back(s3, home):
    assert home.read() is None

    home.create(job())
    home.create(job(nonce="second"))

    assert home.read() == job()
    assert s3.keys() == [f"out/.hero.{IDENTITY[:16]}.job.json"]


def test_one_of_many_workers_who_create_an_object_at_once_has_made_it(s3):
    made: list[bytes] = []
    start = threading.Barrier(4)

    def create(number: int) -> None:
        start.wait()
        if folder(s3).create("job.json", b"%d" % number, f"{number:016x}.1"):
            made.append(b"%d" % number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert made == [s3.content("out/job.json")]


def test_record_goes_through_its_phases_and_is_gone_when_the_image_is_kept(s3, home):
    home.create(job())
    home.write(job(phase="submitted", generation_id="g"))
    assert home.read() == job(phase="submitted", generation_id="g")

    home.close(job(phase="kept", generation_id="g"))

    assert home.read() is None
    assert s3.keys() == []


def test_key_that_may_not_delete_leaves_a_record_that_says_so(s3, home):
    home.create(job())
    s3.fail("DELETE", status=403, code="AccessDenied")

    home.close(job(phase="kept", items=[{"url": "https://hub.example/a.png?signature=x"}]))

    assert home.read() == job(phase="kept")


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (403, "AccessDenied")])
def test_store_that_cannot_tell_is_no_missing_record(s3, home, status, code):
    home.create(job())
    s3.fail("GET", status=status, code=code)

    with pytest.raises(OxenStoreUnavailable, match="could not be read"):
        home.read()


@pytest.mark.parametrize("ask", ["create", "write"])
def test_record_that_cannot_be_written_is_an_error(s3, home, ask):
    s3.fail("PUT", status=403, code="AccessDenied")

    with pytest.raises(OxenStoreUnavailable, match="could not be written"):
        getattr(home, ask)(job())
    assert s3.keys() == []


def test_path_object_is_written_to_with_its_own_connection(s3):
    path = ObjectStoragePath(f"s3://{s3.bucket}/own", conn_id=CONN_ID) / "cube.png"
    client = Client(Settings(), transport=httpx.MockTransport(lambda request: httpx.Response(404)))
    image = {"b64_json": base64.b64encode(picture()).decode()}

    written = download.to_path(client, image, path, overwrite=False)

    assert written["path"] == f"s3://{CONN_ID}@{s3.bucket}/own/cube.png"
    assert ObjectStoragePath(written["path"]).read_bytes() == picture()
    with pytest.raises(OxenStorageError, match="is there already"):
        download.to_path(client, image, path, overwrite=False)


def test_empty_object_is_read_as_one(s3):
    s3.put("out/hero.json", b"")

    assert folder(s3).read("hero.json") == b""
