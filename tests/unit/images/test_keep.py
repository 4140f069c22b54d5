"""What was paid for is kept, whatever happens to one image, one write or one neighbour."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from airflow_provider_oxen.api.errors import (
    OxenBadImage,
    OxenDownloadError,
    OxenExpiredURL,
    OxenImageError,
    OxenStorageError,
)
from airflow_provider_oxen.api.models import ImageItem
from airflow_provider_oxen.images import fetch, sidecar
from airflow_provider_oxen.images.keep import Keeper

from .conftest import HUB, KEY, LINK, SIGNATURE, FlakyFolder, Web, failing, found, picture, refused

PAGE = b"<html><title>Sign in</title></html>"
IDENTITY = "0123456789abcdef"
OTHER = "fedcba9876543210"
FACTS = {"fingerprint": "f1", "model": "z-image-turbo", "seed": 42}


def linked(web: Web, *contents: bytes) -> list[ImageItem]:
    """Put contents behind links of their own."""
    links = [f"{HUB}/files/{number}?X-Signature={SIGNATURE}" for number in range(len(contents))]
    for link, content in zip(links, contents, strict=True):
        web.put(link, found(content))
    return [ImageItem(url=link) for link in links]


def text(content: bytes) -> ImageItem:
    return ImageItem(b64_json=base64.b64encode(content).decode())


def keeper(web: Web, folder: FlakyFolder, writer_id: str = f"{IDENTITY}.1", **options: Any) -> Keeper:
    client, max_bytes = web.client(max_retries=0), options.pop("max_bytes", fetch.MAX_BYTES)
    return Keeper(
        **{
            "api_key": client.settings.api_key,
            "download": lambda link: fetch.from_url(client, link, max_bytes),
            "folder": folder,
            "stem": "hero",
            "facts": FACTS,
            "writer_id": writer_id,
            "sleep": web.slept.append,
            **options,
        }
    )


def keep(web: Web, folder: FlakyFolder, items: Sequence[ImageItem], **options: Any) -> list[dict[str, Any]]:
    return keeper(web, folder, **options).keep(items)


def failure(web: Web, folder: FlakyFolder, items: Sequence[ImageItem], **options: Any) -> OxenImageError:
    """Return the error of a keeping that fails: after the money, and not for a retry to pay again."""
    with pytest.raises(OxenImageError) as caught:
        keep(web, folder, items, **options)
    assert caught.value.spent == "yes"
    assert not caught.value.retry_helps
    assert SIGNATURE not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"
    assert KEY not in f"{caught.value}"
    return caught.value


def files(folder: FlakyFolder) -> list[str]:
    return sorted(os.listdir(folder.path))


def told(folder: FlakyFolder, name: str) -> dict[str, Any]:
    return dict(json.loads((folder.path / name).read_bytes()))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# One image.


@pytest.mark.parametrize("as_text", [True, False])
def test_image_and_its_sidecar_are_all_that_is_left(web, folder, as_text):
    content = picture()

    [record] = keep(web, folder, [text(content)] if as_text else linked(web, content))

    assert files(folder) == ["hero.json", "hero.png"]
    assert (folder.path / "hero.png").read_bytes() == content
    kept_at = record.pop("kept_at")
    assert record == {
        **FACTS,
        "file": "hero.png",
        "index": 1,
        "media_type": "image/png",
        "width": 16,
        "height": 12,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert told(folder, "hero.json") == {
        "format": sidecar.FORMAT,
        **record,
        "kept_at": kept_at,
        "stems": ["hero"],
        "images": 1,
    }
    assert kept_at.endswith("+00:00")
    assert web.slept == []


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", "jpg"), ("WEBP", "webp"), ("GIF", "gif"), ("AVIF", "avif")]
)
def test_suffix_follows_the_bytes(web, folder, kind, suffix):
    link = ImageItem(url=LINK)  # …/image.png
    web.put(LINK, found(picture(kind), content_type="image/png"))

    [record] = keep(web, folder, [link])

    assert record["file"] == f"hero.{suffix}"
    assert files(folder) == sorted(["hero.json", f"hero.{suffix}"])


def test_link_beside_a_broken_text_is_fetched(web, folder):
    web.put(LINK, found(picture("PNG")))

    [record] = keep(web, folder, [ImageItem(url=LINK, b64_json="#")])

    assert record["file"] == "hero.png"


def test_answer_that_cannot_be_read_is_kept_as_rejected_bytes_are(web, folder):
    where = keeper(web, folder).keep_answer(b'{"pictures": []}', "no image in it")

    assert where.endswith("/hero.rejected")
    assert (folder.path / "hero.rejected").read_bytes() == b'{"pictures": []}'
    assert told(folder, "hero.rejected.json")["rejected"] == "no image in it"


def test_sidecar_is_written_last(web, folder):
    keep(web, folder, [text(picture())])

    assert folder.written == ["hero.png", "hero.json"]


def test_kept_output_is_found_again(web, folder):
    assert sidecar.find(folder, "hero", "f1", overwrite=False) is None
    records = keep(web, folder, [text(picture()), text(picture("WEBP"))])

    again = sidecar.find(folder, "hero", "f1", overwrite=False)
    assert again is not None
    for kept, record in zip(again, records, strict=True):
        assert {name: kept[name] for name in record} == record


def test_what_the_hub_made_of_the_prompt_is_told(web, folder):
    item = text(picture()).model_copy(update={"revised_prompt": f"A red cube, {LINK}"})

    keep(web, folder, [item])

    assert told(folder, "hero.json")["revised_prompt"] == f"A red cube, {HUB}/files/image.png"


def test_no_link_gets_into_a_sidecar(web, folder):
    keep(web, folder, linked(web, picture()))

    assert HUB not in (folder.path / "hero.json").read_text()


# Several images.


def test_images_of_an_answer_are_numbered_and_the_first_sidecar_comes_last_of_all(web, folder):
    contents = [picture(), picture("WEBP"), picture("JPEG")]

    records = keep(web, folder, linked(web, *contents))

    assert [record["file"] for record in records] == ["hero.png", "hero-2.webp", "hero-3.jpg"]
    assert [(folder.path / record["file"]).read_bytes() for record in records] == contents
    assert folder.written[:3] == ["hero.png", "hero-2.webp", "hero-3.jpg"]
    assert folder.written[3:] == ["hero-3.json", "hero-2.json", "hero.json"]
    assert told(folder, "hero.json")["stems"] == ["hero", "hero-2", "hero-3"]
    assert "stems" not in told(folder, "hero-2.json")


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_all_images_are_kept_even_if_one_is_none(web, folder, bad):
    contents = [picture(), picture("WEBP"), picture("JPEG")]
    contents[bad] = PAGE

    error = failure(web, folder, linked(web, *contents), same=sha256(PAGE))

    assert isinstance(error, OxenBadImage)
    stem = ["hero", "hero-2", "hero-3"][bad]
    kept = {"hero": "hero.png", "hero-2": "hero-2.webp", "hero-3": "hero-3.jpg"}
    del kept[stem]
    assert files(folder) == sorted(
        [*kept.values(), *(f"{name}.json" for name in kept), f"{stem}.rejected", f"{stem}.rejected.json"]
    )


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_all_images_are_kept_even_if_one_does_not_come(web, folder, bad):
    items = linked(web, picture(), picture("WEBP"), picture("JPEG"))
    web.put(str(items[bad].url), refused(403))

    assert isinstance(failure(web, folder, items), OxenExpiredURL)
    assert len(files(folder)) == 4


def test_first_failure_is_told_and_every_one_is_logged(web, folder, caplog):
    items = linked(web, PAGE, picture(), picture())
    web.put(str(items[2].url), refused(500))

    assert isinstance(failure(web, folder, items, same=sha256(PAGE)), OxenBadImage)
    logged = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert [message.partition(":")[0] for message in logged] == ["Image 1 of 3", "Image 3 of 3"]


def test_first_failure_is_told_even_if_the_sidecars_fail_after_it(web, folder):
    folder.failing = failing("put", "hero.json")

    assert isinstance(failure(web, folder, [text(picture()), text(PAGE)]), OxenBadImage)


def test_only_the_first_images_sidecar_stands_for_the_answer(web, folder):
    failure(web, folder, [text(PAGE), text(picture()), text(picture())])

    assert "stems" not in told(folder, "hero-2.json")
    assert "images" not in told(folder, "hero-2.json")


def test_output_that_misses_an_image_is_not_taken_for_whole(web, folder):
    failure(web, folder, [text(picture()), text(PAGE)])

    with pytest.raises(Exception, match="names 1 kept of 2 paid images"):
        sidecar.find(folder, "hero", "f1", overwrite=False)


def test_too_big_image_is_not_fetched_but_the_others_are(web, folder):
    error = failure(web, folder, linked(web, picture("PNG", (64, 64)), picture()), max_bytes=2000)

    assert isinstance(error, OxenDownloadError)
    assert files(folder) == ["hero-2.json", "hero-2.png"]


def test_text_that_has_come_is_kept_whatever_its_size(web, folder):
    keep(web, folder, [text(picture())], max_bytes=10)

    assert files(folder) == ["hero.json", "hero.png"]


def test_what_nobody_foresaw_is_no_reason_to_pay_again(web, folder, caplog):
    items = linked(web, picture(), picture())

    def crash(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError(f"while asking {request.url}")

    web.put(str(items[0].url), crash)

    error = failure(web, folder, items)
    assert error.message == f"Something unexpected happened: ZeroDivisionError: while asking {HUB}/files/0"
    assert files(folder) == ["hero-2.json", "hero-2.png"]


# Bytes that cannot be proved.


CUT_PNG, CUT_JPEG = picture()[:-10], picture("JPEG")[:300]


@pytest.mark.parametrize(
    ("content", "as_text"),
    [(b"", False), (PAGE, False), (PAGE, True), (CUT_PNG, False), (CUT_PNG, True), (CUT_JPEG, False)],
    ids=["empty link", "page behind a link", "page as text", "cut link", "cut text", "cut jpeg"],
)
def test_rejected_bytes_are_kept_with_a_sidecar_that_says_why(web, folder, content, as_text):
    items = [text(content)] if as_text else linked(web, content)
    error = failure(web, folder, items, same=None if as_text else sha256(content))

    assert isinstance(error, OxenBadImage)
    assert not error.not_yet
    assert files(folder) == ["hero.rejected", "hero.rejected.json"]
    assert (folder.path / "hero.rejected").read_bytes() == content
    assert f"Its {len(content)} bytes are kept as file://{folder.path}/hero.rejected" in str(error)
    assert told(folder, "hero.rejected.json") == {
        "format": sidecar.FORMAT,
        **FACTS,
        "file": "hero.rejected",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "rejected": error.reason,
    }
    assert folder.written == ["hero.rejected", "hero.rejected.json"]


@pytest.mark.parametrize(
    ("content", "damaged"),
    [(b"", False), (PAGE, False), (b'{"status": "processing"}', False), (CUT_PNG, True), (CUT_JPEG, True)],
    ids=["empty", "page", "json", "cut png", "cut jpeg"],
)
def test_what_a_link_gives_in_place_of_an_image_is_left_to_be_asked_for_again(web, folder, content, damaged):
    error = failure(web, folder, linked(web, content), same=sha256(b"something else"))

    assert isinstance(error, OxenBadImage)
    assert (error.not_yet, error.sha256, error.damaged) == (True, sha256(content), damaged)
    assert files(folder) == []


def test_text_that_is_no_image_leaves_the_link_beside_it(web, folder):
    [item] = linked(web, picture())
    both = item.model_copy(update={"b64_json": text(PAGE).b64_json})

    [record] = keep(web, folder, [both])

    assert record["sha256"] == sha256(picture())
    assert files(folder) == ["hero.json", "hero.png"]


WRONG = base64.b64encode(hashlib.sha256(b"another").digest()).decode()


def doubtful(web: Web, content: bytes) -> list[ImageItem]:
    [item] = linked(web, content)
    web.put(str(item.url), found(content, x_amz_checksum_sha256=WRONG))
    return [item]


def test_whole_image_whose_checksum_does_not_fit_is_left_to_be_asked_for_again(web, folder):
    error = failure(web, folder, doubtful(web, picture()))

    assert isinstance(error, OxenBadImage)
    assert (error.not_yet, error.damaged, error.doubted) == (True, True, True)
    assert "its bytes are not those that the store's x-amz-checksum-sha256 tells of" in str(error)
    assert files(folder) == []


def test_whole_image_whose_checksum_never_fits_is_kept_all_the_same(web, folder, caplog):
    [record] = keep(web, folder, doubtful(web, picture()), same=sha256(picture()))

    assert record["sha256"] == sha256(picture())
    assert "It is kept: the same bytes came each time." in caplog.text


def test_text_that_is_no_base64_is_kept_as_it_came(web, folder):
    error = failure(web, folder, [ImageItem(b64_json="data:image/png;base64,*")])

    assert isinstance(error, OxenBadImage)
    assert (folder.path / "hero.rejected").read_text() == "data:image/png;base64,*"
    kept = told(folder, "hero.rejected.json")
    assert kept["sha256"] == hashlib.sha256(b"data:image/png;base64,*").hexdigest()


def test_rejected_bytes_never_cover_earlier_ones(web, folder):
    for content in (b"first", b"second", b"third"):
        failure(web, folder, [text(content)])

    names = ["hero.rejected", "hero.2.rejected", "hero.3.rejected"]
    assert [(folder.path / name).read_bytes() for name in names] == [b"first", b"second", b"third"]
    assert [told(folder, f"{name}.json")["bytes"] for name in names] == [5, 6, 5]


def test_rejected_bytes_leave_what_stands_in_their_sidecars_place(web, folder):
    (folder.path / "hero.rejected.json").write_text("theirs")

    failure(web, folder, [text(PAGE)])

    assert (folder.path / "hero.rejected.json").read_text() == "theirs"
    assert told(folder, "hero.2.rejected.json")["bytes"] == len(PAGE)


def test_sidecar_that_comes_between_rejected_bytes_and_theirs_stays(web, folder, caplog):
    seen = folder.size
    folder.size = lambda name: None if name.endswith(".rejected.json") else seen(name)
    (folder.path / "hero.rejected.json").write_text("theirs")

    failure(web, folder, [text(PAGE)])

    assert (folder.path / "hero.rejected.json").read_text() == "theirs"
    assert "hero.rejected.json belongs to another image" in caplog.text


def test_rejected_bytes_do_not_stand_in_the_way_of_the_next_try(web, folder):
    failure(web, folder, [text(PAGE)])

    assert sidecar.find(folder, "hero", "f1", overwrite=False) is None
    keep(web, folder, [text(picture())])
    assert files(folder) == ["hero.json", "hero.png", "hero.rejected", "hero.rejected.json"]


def test_rejected_bytes_find_a_place_even_if_the_store_cannot_tell_what_is_there(web, folder):
    failure(web, folder, [text(b"first")])
    folder.failing = failing("size", ".rejected")

    assert isinstance(failure(web, folder, [text(b"second")]), OxenBadImage)
    assert (folder.path / "hero.rejected").read_bytes() == b"first"
    assert (folder.path / "hero.2.rejected").read_bytes() == b"second"


# Writes that fail.


@pytest.mark.parametrize("ending", ["hero.png", "hero.json"])
def test_failed_write_is_repeated(web, folder, ending):
    folder.failing = failing("put", ending, times=3)

    keep(web, folder, linked(web, picture()))

    assert files(folder) == ["hero.json", "hero.png"]
    assert (folder.path / "hero.png").read_bytes() == picture()
    assert web.slept == [1, 2, 4]
    assert len(web.asked) == 1


@pytest.mark.parametrize("ending", ["hero.png", "hero.json"])
def test_write_that_keeps_failing_is_an_error_that_names_the_file(web, folder, ending, caplog):
    folder.failing = failing("put", ending)

    error = failure(web, folder, linked(web, picture()))

    assert isinstance(error, OxenStorageError)
    assert error.message == (
        f"file://{folder.path}/{ending}: 6 attempts failed, the last with "
        f"OSError: the disk is on fire: https://store.example/{ending}"
    )
    assert web.slept == [1, 2, 4, 8, 16]
    assert len(web.asked) == 1
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [message[:34] for message in warned] == [
        f"The store failed (attempt {n} of 6): "[:34] for n in (1, 2, 3, 4, 5)
    ]


def test_image_without_its_sidecar_is_never_taken_for_finished(web, folder):
    folder.failing = failing("put", "hero.json")
    failure(web, folder, [text(picture())])
    folder.failing = lambda kind, name: None

    assert files(folder) == ["hero.png"]
    with pytest.raises(Exception, match="without the sidecar"):
        sidecar.find(folder, "hero", "f1", overwrite=False)


@pytest.mark.parametrize("ending", ["hero-3.json", "hero-2.json"])
def test_first_sidecar_is_not_written_where_another_is_missing(web, folder, ending):
    folder.failing = failing("put", ending)

    assert isinstance(failure(web, folder, [text(picture())] * 3), OxenStorageError)
    assert "hero.json" not in files(folder)
    assert {"hero.png", "hero-2.png", "hero-3.png"} <= set(files(folder))


def test_other_images_are_kept_where_one_cannot_be_written(web, folder):
    folder.failing = failing("put", "hero-2.png")

    assert isinstance(failure(web, folder, [text(picture())] * 3), OxenStorageError)
    assert files(folder) == ["hero-3.json", "hero-3.png", "hero.json", "hero.png"]


def test_rejected_bytes_that_cannot_be_written_are_an_error_of_the_store(web, folder):
    folder.failing = failing("put", ".rejected")

    assert isinstance(failure(web, folder, [text(PAGE)]), OxenStorageError)


def test_bytes_are_let_go_whatever_happens(web, folder, monkeypatch):
    opened: list[Any] = []
    make = fetch.from_url

    def from_url(*arguments: Any) -> Any:
        opened.append(make(*arguments))
        return opened[-1]

    monkeypatch.setattr(fetch, "from_url", from_url)
    folder.failing = failing("put", "hero-3.png")

    failure(web, folder, linked(web, picture(), PAGE, picture()))

    assert [got.file.closed for got in opened] == [True] * 3


# Leftovers.


def leave(folder: FlakyFolder) -> list[str]:
    names = [f".hero.png.{IDENTITY}.1.part", f".hero.json.{IDENTITY}.2.part", f".hero.png.{OTHER}.1.part"]
    for name in names:
        (folder.path / name).touch()
    return names


def test_success_removes_what_earlier_tries_left_and_nothing_else(web, folder):
    others = leave(folder)[-1]

    keep(web, folder, [text(picture())], writer_id=f"{IDENTITY}.3")

    assert files(folder) == sorted([others, "hero.json", "hero.png"])


def test_images_that_are_none_are_a_finished_try_too(web, folder):
    leave(folder)

    failure(web, folder, [text(PAGE)])

    assert files(folder) == [f".hero.png.{OTHER}.1.part", "hero.rejected", "hero.rejected.json"]


def test_failed_write_removes_nothing(web, folder):
    names = leave(folder)
    folder.failing = failing("put", "hero.png")

    failure(web, folder, [text(picture())])

    assert files(folder) == sorted(names)


def test_leftovers_that_cannot_be_removed_are_no_failure(web, folder):
    folder.failing = failing("clean", "")

    assert len(keep(web, folder, [text(picture())])) == 1


# Neighbours.


def theirs(folder: FlakyFolder, *names: str) -> None:
    for name in names:
        (folder.path / name).write_bytes(f"their {name}".encode())


def test_image_that_another_task_put_there_meanwhile_keeps_its_place(web, folder, caplog):
    keep(web, folder, [text(picture("PNG", (8, 8)))], writer_id=f"{OTHER}.1")

    [record] = keep(web, folder, [text(picture())])

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert files(folder) == [f"hero-{IDENTITY}.json", f"hero-{IDENTITY}.png", "hero.json", "hero.png"]
    assert (folder.path / "hero.png").read_bytes() == picture("PNG", (8, 8))
    assert f"hero is taken; the image goes to file://{folder.path}/hero-{IDENTITY}." in caplog.text


def overtaken(folder: FlakyFolder, name: str, by: Callable[[], Any]) -> None:
    """Have something happen right before a file is created: after the look whether its place is free."""
    create = folder.create

    def create_late(asked: str, source: Any, writer_id: str) -> bool:
        if asked == name:
            folder.create = create  # type: ignore[method-assign]
            by()
        return create(asked, source, writer_id)

    folder.create = create_late  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("other", [picture("PNG", (8, 8)), picture("WEBP"), picture()])
@pytest.mark.parametrize("moment", ["hero.png", "hero.json"])
def test_two_tasks_with_one_path_lose_nothing(web, folder, other, moment):
    """Both have found the place free: another image, one of another format, or one that is the same."""
    facts = {name: {**FACTS, "identity": name} for name in (IDENTITY, OTHER)}
    first: list[dict[str, Any]] = []
    overtaken(
        folder,
        moment,
        lambda: first.extend(keep(web, folder, [text(other)], writer_id=f"{OTHER}.1", facts=facts[OTHER])),
    )

    second = keep(web, folder, [text(picture())], facts=facts[IDENTITY])

    for [record], content in ((first, other), (second, picture())):
        stem = record["file"].rpartition(".")[0]
        assert (folder.path / record["file"]).read_bytes() == content
        assert told(folder, f"{stem}.json")["identity"] == record["identity"]
        assert told(folder, f"{stem}.json")["file"] == record["file"]
        assert told(folder, f"{stem}.json")["stems"] == [stem]
    assert first[0]["file"] != second[0]["file"]
    # What lost its name stays too: no image is ever deleted.
    assert picture() in [path.read_bytes() for path in folder.path.iterdir()]


def test_image_that_is_replaced_before_it_is_described_is_kept_beside_it(web, folder):
    overtaken(folder, "hero.json", lambda: theirs(folder, "hero.json", "hero.png"))

    [record] = keep(web, folder, [text(picture())])

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert (folder.path / record["file"]).read_bytes() == picture()
    assert (folder.path / "hero.png").read_bytes() == b"their hero.png"


def test_write_that_the_driver_repeats_after_a_lost_answer_is_ones_own(web, folder):
    make = folder._make

    def make_twice(name: str, source: Any, writer_id: str) -> bool:
        make(name, source, writer_id)
        return make(name, source, writer_id)

    folder._make = make_twice

    [record] = keep(web, folder, [text(picture())])

    assert record["file"] == "hero.png"
    assert files(folder) == ["hero.json", "hero.png"]


def test_store_that_says_of_every_name_that_it_is_taken_is_an_error(web, folder):
    folder._make = lambda *arguments: False

    error = failure(web, folder, [text(picture())])

    assert "and 99 names like it are taken" in str(error)
    assert files(folder) == []


def test_file_that_cannot_be_read_back_is_not_taken_for_ones_own(web, folder):
    theirs(folder, "hero.png")
    folder.failing = failing("size", "hero.png")

    [record] = keep(web, folder, [text(picture())])

    assert record["file"] == f"hero-{IDENTITY}.png"


@pytest.mark.parametrize("name", ["hero-2.png", "hero-2.webp", "hero-2.json"])
def test_further_images_leave_strangers_files_alone(web, folder, name):
    theirs(folder, name)

    records = keep(web, folder, [text(picture()), text(picture())])

    assert [record["file"] for record in records] == ["hero.png", f"hero-2-{IDENTITY}.png"]
    assert (folder.path / name).read_text() == f"their {name}"
    assert told(folder, "hero.json")["stems"] == ["hero", f"hero-2-{IDENTITY}"]
    assert sidecar.find(folder, "hero", "f1", overwrite=False) is not None


def test_further_images_leave_other_outputs_of_ours_alone(web, folder):
    keep(
        web,
        folder,
        [text(picture("WEBP"))],
        stem="hero-2",
        facts={"fingerprint": "f2"},
        writer_id=f"{OTHER}.1",
    )

    keep(web, folder, [text(picture()), text(picture())])

    assert (folder.path / "hero-2.webp").read_bytes() == picture("WEBP")
    assert told(folder, "hero-2.json")["fingerprint"] == "f2"


def test_what_earlier_tries_have_kept_is_not_covered(web, folder):
    """Each try was paid for, and the first image of each was none."""
    for size in (8, 16, 24, 32):
        failure(web, folder, [text(PAGE), text(picture("PNG", (size, size)))])

    kept = ["hero-2.png", *(f"hero-2-{IDENTITY}{number}.png" for number in ("", "-2", "-3"))]
    assert [(folder.path / name).read_bytes() for name in kept] == [
        picture("PNG", (size, size)) for size in (8, 16, 24, 32)
    ]


@pytest.mark.parametrize(("kind", "ending"), [("read", "hero.json"), ("size", "hero.png")])
def test_first_image_goes_where_it_was_to_go_if_the_store_cannot_tell_what_is_there(
    web, folder, kind, ending, caplog
):
    folder.failing = failing(kind, ending)

    [record] = keep(web, folder, [text(picture())])

    assert record["file"] == "hero.png"
    assert "The store cannot tell what is there: OSError: the disk is on fire" in caplog.text


@pytest.mark.parametrize(("kind", "ending"), [("read", "hero-2.json"), ("size", "hero-2.png")])
def test_further_images_cover_nothing_if_the_store_cannot_tell_what_is_there(web, folder, kind, ending):
    theirs(folder, "hero-2.png")
    folder.failing = failing(kind, ending)

    records = keep(web, folder, [text(picture()), text(picture())])

    assert (folder.path / "hero-2.png").read_text() == "their hero-2.png"
    assert records[1]["file"] == f"hero-2-{IDENTITY}.png"
    folder.failing = lambda kind, name: None
    assert len(sidecar.find(folder, "hero", "f1", overwrite=False) or []) == 2


def test_look_that_fails_once_is_repeated(web, folder):
    theirs(folder, "hero-2.png")
    folder.failing = failing("size", "hero-2.png", times=3)

    records = keep(web, folder, [text(picture()), text(picture())])

    assert records[1]["file"] == f"hero-2-{IDENTITY}.png"
    assert web.slept == [1, 2, 4]


# Replacing a finished output.


def old_output(web: Web, folder: FlakyFolder, count: int = 3) -> None:
    keep(
        web,
        folder,
        [text(picture("PNG", (8, 8)))] * count,
        writer_id=f"{OTHER}.1",
        facts={"fingerprint": "f2"},
    )
    folder.written.clear()


def test_new_output_takes_the_places_of_the_old_one(web, folder):
    old_output(web, folder)

    records = keep(web, folder, [text(picture()), text(picture("WEBP"))], replacing=True)

    assert [record["file"] for record in records] == ["hero.png", "hero-2.webp"]
    assert folder.written == ["hero.json", "hero.png", "hero-2.webp", "hero-2.json", "hero.json"]
    assert (folder.path / "hero.png").read_bytes() == picture()
    assert len(sidecar.find(folder, "hero", "f1", overwrite=False) or []) == 2


def test_replacing_leaves_alone_what_the_old_output_does_not_name(web, folder):
    old_output(web, folder, count=1)
    keep(
        web,
        folder,
        [text(picture("GIF"))],
        stem="hero-2",
        facts={"fingerprint": "f3"},
        writer_id=f"{OTHER}.1",
    )

    records = keep(web, folder, [text(picture()), text(picture())], replacing=True)

    assert [record["file"] for record in records] == ["hero.png", f"hero-2-{IDENTITY}.png"]
    assert (folder.path / "hero-2.gif").read_bytes() == picture("GIF")


def test_place_is_neither_the_old_output_nor_the_new_until_all_is_written(web, folder):
    old_output(web, folder)
    found_between: list[str] = []

    def look(kind: str, name: str) -> None:
        if kind == "put" and name != "hero.json":
            folder.failing, keep_failing = lambda kind, name: None, folder.failing
            for fingerprint in ("f1", "f2"):
                with pytest.raises(Exception, match=r"unfinished|another request"):
                    sidecar.find(folder, "hero", fingerprint, overwrite=False)
            found_between.append(name)
            folder.failing = keep_failing

    folder.failing = look
    keep(web, folder, [text(picture())] * 2, replacing=True)

    assert found_between == ["hero.png", "hero-2.png", "hero-2.json"]


def test_try_that_was_stopped_while_replacing_is_replaced_as_a_whole(web, folder):
    old_output(web, folder)
    folder.failing = failing("put", ".png")
    failure(web, folder, [text(picture())] * 3, replacing=True)
    assert told(folder, "hero.json")["replacing"] is True
    assert told(folder, "hero.json")["stems"] == ["hero", "hero-2", "hero-3"]

    folder.failing = lambda kind, name: None
    records = keep(web, folder, [text(picture())] * 3, replacing=True)

    assert [record["file"] for record in records] == ["hero.png", "hero-2.png", "hero-3.png"]
    assert "replacing" not in told(folder, "hero.json")


@pytest.mark.parametrize(("kind", "ending"), [("put", "hero.json"), ("read", "hero.json")])
def test_old_output_that_cannot_be_marked_stays_and_the_new_image_is_kept_beside_it(
    web, folder, kind, ending
):
    old_output(web, folder, count=1)
    before = (folder.path / "hero.json").read_bytes()
    left = [6]

    def fail(asked: str, name: str) -> None:
        if (asked, name) == (kind, ending) and left[0]:
            left[0] -= 1
            raise OSError("busy")

    folder.failing = fail

    assert isinstance(failure(web, folder, [text(picture())], replacing=True), OxenImageError)
    assert (folder.path / "hero.json").read_bytes() == before
    assert (folder.path / "hero.png").read_bytes() == picture("PNG", (8, 8))
    assert (folder.path / f"hero-{IDENTITY}.png").read_bytes() == picture()
    assert sidecar.find(folder, "hero", "f2", overwrite=False)


def test_strangers_file_survives_a_replacement(web, folder):
    keep(web, folder, [text(picture("WEBP"))])
    (folder.path / "hero.png").write_bytes(b"a stranger's")

    [record] = keep(web, folder, [text(picture())], replacing=True)

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert (folder.path / "hero.png").read_bytes() == b"a stranger's"
    assert (folder.path / record["file"]).read_bytes() == picture()


def test_item_with_neither_link_nor_bytes_costs_no_other(web, folder):
    error = failure(web, folder, [text(picture()), ImageItem(), text(picture())])

    assert "neither a link nor bytes" in str(error)
    assert files(folder) == ["hero-3.json", "hero-3.png", "hero.json", "hero.png"]


def test_place_is_looked_for_only_when_the_image_is_there(web, folder):
    def slow(request: httpx.Request) -> httpx.Response:
        # While it is fetched, another task puts its image there.
        (folder.path / "hero.png").write_bytes(b"another's")
        return httpx.Response(200, content=picture())

    web.put(LINK, slow)

    [record] = keep(web, folder, [ImageItem(url=LINK)])

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert (folder.path / "hero.png").read_bytes() == b"another's"


def test_damaged_sidecar_is_replaced(web, folder):
    (folder.path / "hero.json").write_bytes(sidecar.dump({"stems": ["../x"], "fingerprint": "f1"}))

    keep(web, folder, [text(picture())], replacing=True)

    assert files(folder) == ["hero.json", "hero.png"]
    assert sidecar.find(folder, "hero", "f1", overwrite=False)


def test_tampered_sidecar_gives_away_no_other_place(web, folder):
    stems = ["hero-3", "hero-2"]
    (folder.path / "hero.json").write_bytes(sidecar.dump({"stems": stems, "fingerprint": "f1"}))

    keep(web, folder, [text(picture())], replacing=True)

    assert told(folder, "hero.json")["file"] == "hero.png"


def test_source_is_read_from_its_beginning_on_every_attempt(web, folder, monkeypatch):
    create = FlakyFolder.create
    seen: list[int] = []

    def read_and_fail(self: FlakyFolder, name: str, source: io.BytesIO, writer_id: str) -> bool:
        if name == "hero.png" and len(seen) < 2:
            seen.append(len(source.read(100)))
            raise OSError("broken in the middle")
        return create(self, name, source, writer_id)

    monkeypatch.setattr(FlakyFolder, "create", read_and_fail)

    keep(web, folder, linked(web, picture()))

    assert seen == [100, 100]
    assert (folder.path / "hero.png").read_bytes() == picture()


# What an earlier try of the same job has left.


def test_name_is_claimed_before_anything_is_written_there(web, folder):
    seen: list[tuple[str, list[str]]] = []

    keep(
        web,
        folder,
        [text(picture()), text(picture("WEBP"))],
        claim=lambda name: seen.append((name, list(folder.written))),
    )

    assert seen == [("hero.png", []), ("hero-2.webp", ["hero.png"])]


def test_claim_that_fails_is_told_as_a_paid_image_that_was_not_kept(web, folder):
    def claim(name: str) -> None:
        raise RuntimeError("the store is away")

    assert "RuntimeError: the store is away" in str(failure(web, folder, [text(picture())], claim=claim))
    assert files(folder) == []


def test_image_that_an_earlier_try_of_this_job_wrote_is_found_again(web, folder):
    (folder.path / "hero.png").write_bytes(picture())

    records = keep(web, folder, [text(picture()), text(picture())], own_files=("hero.png", "hero-2.png"))

    assert [record["file"] for record in records] == ["hero.png", "hero-2.png"]
    assert files(folder) == ["hero-2.json", "hero-2.png", "hero.json", "hero.png"]


def test_image_that_took_a_name_which_this_job_had_only_claimed_stays(web, folder):
    """This job's try died between its claim and its write, and another task was faster."""
    theirs(folder, "hero.png")

    [record] = keep(web, folder, [text(picture())], own_files=("hero.png",))

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert (folder.path / "hero.png").read_bytes() == b"their hero.png"


def test_image_that_an_earlier_try_wrote_in_another_format_does_not_take_the_place(web, folder):
    theirs(folder, "hero.webp")

    [record] = keep(web, folder, [text(picture())], own_files=("hero.webp",))

    assert record["file"] == "hero.png"


def test_sidecar_of_another_task_keeps_its_place_although_this_job_had_claimed_the_name(web, folder):
    keep(
        web,
        folder,
        [text(picture("PNG", (8, 8)))],
        facts={**FACTS, "identity": OTHER},
        writer_id=f"{OTHER}.1",
    )

    facts = {**FACTS, "identity": IDENTITY}
    [record] = keep(web, folder, [text(picture())], facts=facts, own_files=("hero.png",))

    assert record["file"] == f"hero-{IDENTITY}.png"
    assert (folder.path / "hero.png").read_bytes() == picture("PNG", (8, 8))


def test_sidecar_of_this_jobs_earlier_try_is_written_over(web, folder):
    facts = {**FACTS, "identity": IDENTITY}
    keep(web, folder, [text(picture("PNG", (8, 8)))], facts=facts)

    [record] = keep(web, folder, [text(picture())], facts=facts, own_files=("hero.png",))

    assert record["file"] == "hero.png"
    assert files(folder) == ["hero.json", "hero.png"]
    assert (folder.path / "hero.png").read_bytes() == picture()


def test_error_of_the_store_is_not_chained_to_what_it_quotes(web, folder):
    """A traceback in the task's log would tell a signed URL that the message leaves out."""
    folder.failing = failing("put", ".png")

    error = failure(web, folder, [text(picture())])

    assert error.__cause__ is None
    assert error.__suppress_context__
