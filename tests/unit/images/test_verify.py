"""Only whole images of the named formats are proved, whatever else the bytes are."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageFile

from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.images import verify

from .conftest import picture

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "animated png": ("PNG", {"frames": 3}),
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "animated webp": ("WEBP", {"frames": 3}),
    "gif": ("GIF", {}),
    "animated gif": ("GIF", {"frames": 3}),
    "avif": ("AVIF", {}),
    "animated avif": ("AVIF", {"frames": 2}),
}

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"


def of(kind: str) -> bytes:
    name, options = KINDS[kind]
    return picture(name, **options)


def reason(content: bytes) -> str:
    file = io.BytesIO(content)
    with pytest.raises(OxenBadImage) as caught:
        verify.prove(file)
    assert file.tell() == 0
    assert caught.value.reason in str(caught.value)
    assert caught.value.spent == "yes"
    return caught.value.reason


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG that claims a size, with these chunks behind its header."""
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    written = b"\x89PNG\r\n\x1a\n"
    for name, content in (header, *chunks, (b"IEND", b"")):
        written += (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )
    return written


@pytest.mark.parametrize(
    ("kind", "media_type", "suffix"),
    [
        ("png", "image/png", ".png"),
        ("animated png", "image/png", ".png"),
        ("jpeg", "image/jpeg", ".jpg"),
        ("progressive jpeg", "image/jpeg", ".jpg"),
        ("webp", "image/webp", ".webp"),
        ("animated webp", "image/webp", ".webp"),
        ("gif", "image/gif", ".gif"),
        ("animated gif", "image/gif", ".gif"),
        ("avif", "image/avif", ".avif"),
    ],
)
def test_format_and_size_come_from_the_bytes(kind, media_type, suffix):
    file = io.BytesIO(of(kind))
    file.seek(7)

    assert verify.prove(file) == verify.Facts(media_type, suffix, 16, 12)
    assert file.tell() == 0
    assert suffix in verify.SUFFIXES


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_end_are_no_harm(kind):
    for more in (b"\0" * 5000, PAGE, of(kind)):
        assert verify.prove(io.BytesIO(of(kind) + more))[2:] == (16, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_image_cut_anywhere_is_refused(kind):
    whole = of(kind)
    step = 7 if "avif" in kind else 1
    cuts = {*range(0, len(whole), step), *range(len(whole) - 16, len(whole))}

    assert [cut for cut in sorted(cuts) if _is_proved(whole[:cut])] == []


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_cut_image_is_refused_even_where_the_process_is_lenient(kind, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)

    assert reason(of(kind)[:-100])
    assert verify.prove(io.BytesIO(of(kind)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def _is_proved(content: bytes) -> bool:
    try:
        verify.prove(io.BytesIO(content))
    except OxenBadImage:
        return False
    return True


def test_gif_with_a_colour_table_for_each_frame_is_proved():
    frames = [Image.new("P", (5, 4), number) for number in (1, 2, 3)]
    for number, frame in enumerate(frames):
        frame.putpalette([number * 40] * 768)
    written = io.BytesIO()
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:], comment=b"three", loop=0)

    assert verify.prove(io.BytesIO(written.getvalue())).suffix == ".gif"
    assert reason(written.getvalue()[:-1]) == "it is cut short"


@pytest.mark.parametrize("content", [b"", b"\0", PAGE, b'{"error": "no"}', b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_other_bytes_are_refused(content):
    assert reason(content)


def test_an_unknown_format_is_named_without_an_address_in_memory():
    assert reason(PAGE) == "not an image of a known format"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "PDF", "JPEG2000"])
def test_formats_that_are_not_named_are_refused(kind):
    assert reason(picture(kind)) == "not an image of a known format"


def test_damaged_pixels_are_refused():
    whole = picture("PNG")
    middle = len(whole) // 2

    assert reason(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])


def test_png_without_pixels_is_refused():
    assert reason(png(4, 4))


def test_png_with_too_few_pixels_is_refused():
    assert reason(png(64, 64, (b"IDAT", zlib.compress(b"\0" * 100))))


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_refused_before_it_is_decoded(width, height, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", _must_not_run)

    assert "pixels" in reason(png(width, height, (b"IDAT", zlib.compress(b"\0" * 1000))))


def _must_not_run(*arguments: Any) -> None:
    raise AssertionError("decoded")


def test_pixels_count_over_all_frames(monkeypatch):
    monkeypatch.setattr(verify, "MAX_PIXELS", 16 * 12 * 3)
    assert verify.prove(io.BytesIO(picture("GIF", frames=3)))

    assert reason(picture("GIF", frames=4)) == "16 x 12 pixels in 4 frame(s) is more than is decoded"


def test_too_many_frames_are_refused(monkeypatch):
    monkeypatch.setattr(verify, "MAX_FRAMES", 3)
    assert verify.prove(io.BytesIO(picture("WEBP", frames=3)))

    assert "4 frame(s)" in reason(picture("WEBP", frames=4))


def test_jpeg_that_more_pictures_follow_is_a_jpeg_of_the_first_ones_size():
    first, second = (Image.new("RGB", size) for size in ((16, 12), (4, 3)))
    written = io.BytesIO()
    first.save(written, "MPO", save_all=True, append_images=[second])
    assert Image.open(written).format == "MPO"

    assert verify.prove(written) == verify.Facts("image/jpeg", ".jpg", 16, 12)
    assert reason(written.getvalue()[:-100])


def test_whatever_a_decoder_raises_nothing_is_proved(monkeypatch):
    def crash(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("PIL.Image.open", crash)

    assert reason(picture()) == "ZeroDivisionError"
