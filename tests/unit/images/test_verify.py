"""Only whole images of the named formats are proved, whatever else the bytes are."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageFile, ImageOps

from airflow_provider_oxen.api.errors import OxenBadImage
from airflow_provider_oxen.images import parts, verify
from airflow_provider_oxen.images.fetched import from_bytes

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


def picture_of(mode: str, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.new(mode, (16, 12)).save(written, kind)
    return written.getvalue()


def reason(content: bytes) -> str:
    got = from_bytes(content)
    with pytest.raises(OxenBadImage) as caught:
        verify.prove(got)
    assert got.file.tell() == 0
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
    got = from_bytes(of(kind))
    got.file.seek(7)
    facts = verify.prove(got)

    assert facts[:3] == (media_type, 16, 12)
    assert (facts.bytes, facts.sha256) == (got.size, got.sha256)
    assert got.file.tell() == 0
    assert facts.suffix == suffix


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_after_the_end_are_no_harm(kind):
    for more in (b"\0" * 5000, PAGE, of(kind)):
        assert verify.prove(from_bytes(of(kind) + more))[1:3] == (16, 12)


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
    assert verify.prove(from_bytes(of(kind)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def _is_proved(content: bytes) -> bool:
    try:
        verify.prove(from_bytes(content))
    except OxenBadImage:
        return False
    return True


def test_gif_with_a_colour_table_for_each_frame_is_proved():
    frames = [Image.new("P", (5, 4), number) for number in (1, 2, 3)]
    for number, frame in enumerate(frames):
        frame.putpalette([number * 40] * 768)
    written = io.BytesIO()
    frames[0].save(written, "GIF", save_all=True, append_images=frames[1:], comment=b"three", loop=0)

    assert verify.prove(from_bytes(written.getvalue())).suffix == ".gif"
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
def test_decompression_bomb_is_refused_before_it_is_decoded(width, height, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", _must_not_run)

    assert "pixels" in reason(png(width, height, (b"IDAT", zlib.compress(b"\0" * 1000))))


def _must_not_run(*arguments: Any) -> None:
    raise AssertionError("decoded")


def test_pixels_count_over_all_frames(monkeypatch):
    monkeypatch.setattr(verify, "MAX_PIXELS", 16 * 12 * 3)
    assert verify.prove(from_bytes(picture("GIF", frames=3)))

    assert reason(picture("GIF", frames=4)) == "768 pixels in all frames is more than is decoded"
    assert reason(picture("WEBP", frames=4)) == "16 x 12 pixels in 4 frame(s) is more than is decoded"


def test_too_many_frames_are_refused(monkeypatch):
    monkeypatch.setattr(verify, "MAX_FRAMES", 3)
    assert verify.prove(from_bytes(picture("WEBP", frames=3)))

    assert "4 frame(s)" in reason(picture("WEBP", frames=4))


def test_jpeg_that_more_pictures_follow_is_a_jpeg_of_the_first_ones_size():
    first, second = (Image.new("RGB", size) for size in ((16, 12), (4, 3)))
    written = io.BytesIO()
    first.save(written, "MPO", save_all=True, append_images=[second])
    assert Image.open(written).format == "MPO"

    assert verify.prove(from_bytes(written.getvalue()))[:3] == ("image/jpeg", 16, 12)
    assert reason(written.getvalue()[:-100])


def test_jpeg_whose_further_pictures_were_stripped_is_proved():
    written = io.BytesIO()
    first, second = (Image.new("RGB", size) for size in ((16, 12), (4, 3)))
    first.save(written, "MPO", save_all=True, append_images=[second])
    end = written.getvalue().index(b"\xff\xd9") + 2

    assert verify.prove(from_bytes(written.getvalue()[:end]))[:3] == ("image/jpeg", 16, 12)


def test_pictures_behind_a_jpeg_are_not_followed_for_ever(monkeypatch):
    assert verify.prove(from_bytes(of("jpeg") * 40))[1:3] == (16, 12)


# What lies beside the pixels.

HUGE = zlib.compress(bytes(3 * 1024 * 1024))
TURNED = parts.exif_with(6)


def chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def beside(*chunks: bytes, kind: str = "png") -> bytes:
    """Return a PNG with these chunks behind its header."""
    whole = of(kind)
    return whole[:33] + b"".join(chunks) + whole[33:]


def segment(marker: int, content: bytes, size: int | None = None) -> bytes:
    length = len(content) + 2 if size is None else size
    return bytes((0xFF, marker)) + struct.pack(">H", length) + content


def before(*segments: bytes, kind: str = "jpeg") -> bytes:
    """Return a JPEG with these segments at its beginning."""
    whole = of(kind)
    return whole[:2] + b"".join(segments) + whole[2:]


def riff(*chunks: bytes) -> bytes:
    """Return an extended WebP with these chunks at its end."""
    body = b"WEBP" + _extended(of("webp")) + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _extended(whole: bytes) -> bytes:
    flags = struct.pack("<I", 0x08) + (15).to_bytes(3, "little") + (11).to_bytes(3, "little")
    return b"VP8X" + struct.pack("<I", 10) + flags + whole[12:]


def webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


PERFECT: dict[str, bytes] = {
    "png with a huge text": beside(chunk(b"zTXt", b"Comment\0\0" + HUGE)),
    "png with a huge international text": beside(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + HUGE)),
    "png with a long plain text": beside(chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000)),
    "png with very many texts": beside(*[chunk(b"zTXt", b"C\0\0" + zlib.compress(bytes(900_000)))] * 80),
    "png with a huge profile": beside(chunk(b"iCCP", b"p\0\0" + HUGE)),
    "png with a profile that is none": beside(chunk(b"iCCP", b"p\0\0no zlib")),
    "png with a damaged text": beside(chunk(b"tEXt", b"Comment\0x", crc=1)),
    "png with a damaged place": beside(chunk(b"eXIf", b"MM\0*", crc=1)),
    "png with a damaged time": beside(chunk(b"tIME", b"x", crc=1)),
    "png with a short chunk": beside(chunk(b"pHYs", b"")),
    "png with an unknown chunk": beside(chunk(b"abCd", b"?" * 99)),
    "animated png with a damaged text": beside(chunk(b"tEXt", b"C\0x", crc=1), kind="animated png"),
    "jpeg with a broken index of pictures": before(segment(0xE2, b"MPF\0MM\0*" + bytes(4))),
    "jpeg with an index of pictures that are gone": before(segment(0xE2, b"MPF\0II*\0" + b"\xff" * 40)),
    "jpeg with a broken place": before(segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff")),
    "jpeg with a short place": before(segment(0xE1, b"Exif\0\0")),
    "jpeg with a broken profile": before(segment(0xE2, b"ICC_PROFILE\0")),
    "jpeg with a broken resource": before(segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed")),
    "jpeg with long texts": before(*[segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000)] * 20),
    "jpeg with a comment": before(segment(0xFE, b"x" * 60_000)),
    "jpeg with a segment that ends too soon": before(segment(0xE5, b"\0" * 50, size=20)),
    "jpeg with fill bytes": before(b"\xff\xff\xff" + segment(0xE7, b"x")),
    "webp with an unknown chunk": riff(webp_chunk(b"abcd", b"?" * 7)),
    "webp with a broken place": riff(webp_chunk(b"EXIF", b"no place")),
    "grey": picture_of("L"),
    "grey and alpha": picture_of("LA"),
    "16 bits": picture_of("I;16"),
    "1 bit": picture_of("1"),
    "palette": picture_of("P"),
    "alpha": picture_of("RGBA"),
    "cmyk": picture_of("CMYK", "JPEG"),
    "grey jpeg": picture_of("L", "JPEG"),
    "gif with a comment": picture("GIF", comment=b"x" * 5000),
}


@pytest.mark.parametrize("name", PERFECT)
def test_what_lies_beside_the_pixels_is_no_reason_to_refuse_them(name):
    assert verify.prove(from_bytes(PERFECT[name]))[1:3] == (16, 12)


@pytest.mark.parametrize("kind", ["IHDR", "IDAT", "IEND", "tRNS", "fcTL", "fdAT", "acTL"])
def test_damage_in_what_pixels_are_made_of_is_refused(kind):
    whole = beside(chunk(b"tRNS", bytes(6))) if kind == "tRNS" else of("animated png")
    at = whole.index(kind.encode()) - 4
    [size] = struct.unpack_from(">I", whole, at)
    damaged = bytearray(whole)
    damaged[at + 8 + size] ^= 1

    assert reason(bytes(damaged)) == f"it is cut short, or its {kind} is damaged"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (before(b"\xff\xe5\0\0" * 10_001), "it has too many segments"),
        (beside(chunk(b"abCd", b"") * 300_001), "it has too many chunks"),
    ],
    ids=["jpeg", "png"],
)
def test_file_of_nothing_but_parts_takes_no_minutes(content, why):
    assert reason(content) == why


def test_pixels_in_very_many_parts_are_decoded_in_no_time():
    whole = of("png")
    at = whole.index(b"IDAT") - 4
    [size] = struct.unpack_from(">I", whole, at)
    data = whole[at + 8 : at + 8 + size]
    split = b"".join(chunk(b"IDAT", data[n : n + 1]) + chunk(b"abCd", b"") for n in range(size))

    assert verify.prove(from_bytes(whole[:at] + split + whole[at + 12 + size :]))[1:3] == (16, 12)


def test_chunks_that_do_not_follow_each_other_are_refused():
    assert reason(beside(chunk(b"\0\0\0\0", b"x"))) == "its chunks do not follow each other"


def test_limit_that_a_dag_file_has_set_for_itself_is_none_of_ours(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)

    assert verify.prove(from_bytes(of("png")))[1:3] == (16, 12)
    assert Image.MAX_IMAGE_PIXELS == 10


# How it is shown.


def turned(kind: str, how: int) -> bytes:
    return picture(kind, exif=parts.exif_with(how))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("how", range(1, 9))
def test_width_and_height_are_those_that_are_shown(kind, how):
    seen: list[Image.Image] = []
    content = turned(kind, how)
    facts = verify.prove(from_bytes(content), lambda image: seen.append(ImageOps.exif_transpose(image)))

    assert (facts.width, facts.height) == seen[0].size == ((16, 12) if how < 5 else (12, 16))
    with Image.open(io.BytesIO(content)) as image:
        assert ImageOps.exif_transpose(image).size == seen[0].size


def test_damaged_orientation_turns_nothing():
    content = beside(chunk(b"eXIf", TURNED[6:], crc=1))

    assert verify.prove(from_bytes(content))[1:3] == (16, 12)


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"XX\0*",
        b"MM\0*",
        b"MM\0*\0\0\xff\xff",
        TURNED[6:-10],
        TURNED[6:].replace(b"\0\6\0\0", b"\0\x09\0\0"),
        TURNED[6:].replace(b"\x01\x12\0\3", b"\x01\x12\0\4"),
        TURNED[6:].replace(b"\x01\x12", b"\x01\x13"),
    ],
)
def test_orientation_that_makes_no_sense_turns_nothing(exif):
    assert parts.orientation(exif) == 1


def test_orientation_is_read_in_both_orders_of_bytes():
    little = b"II*\0" + struct.pack("<IH", 8, 2) + struct.pack("<HHII", 0x10F, 2, 1, 0)
    little += struct.pack("<HHIHH", 0x112, 3, 1, 8, 0)

    assert (parts.orientation(TURNED[6:]), parts.orientation(little)) == (6, 8)


def test_whatever_a_decoder_raises_nothing_is_proved(monkeypatch):
    def crash(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("PIL.Image.open", crash)

    assert reason(picture()) == "ZeroDivisionError"


GIF = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"


def frame(left: int, top: int, width: int, height: int) -> bytes:
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02\x02\x44\x01\x00"


@pytest.mark.parametrize(
    "frames",
    [
        frame(0, 0, 65535, 65535),
        frame(0, 0, 1, 1) + frame(0, 0, 65535, 65535),
        frame(0, 0, 1, 1) + b"!\xf9\x04\x08\0\0\0\0" + frame(0, 0, 65535, 65535),
        frame(0, 0, 1, 1) + frame(65535, 65535, 1, 1),
        frame(0, 0, 2000, 2000) * 30,
    ],
    ids=["first", "later", "disposed", "far away", "many"],
)
def test_gif_that_grows_beyond_its_head_is_not_decoded(frames):
    assert "is more than is decoded" in reason(GIF + frames + b";")


def test_gif_of_endless_blocks_is_not_walked_through(monkeypatch):
    monkeypatch.setattr(parts, "_MOST_BLOCKS", 100)

    assert verify.prove(from_bytes(GIF + b"!\xfe" + b"\x01a" * 90 + b"\0" + frame(0, 0, 1, 1) + b";"))
    for many in (b"!\xfe" + b"\x01a" * 200 + b"\0", b"!\xfe\0" * 200):
        assert "too many blocks" in reason(GIF + many + frame(0, 0, 1, 1) + b";")


def test_jpeg_of_many_scans_is_not_decoded():
    whole = of("progressive jpeg")
    at, end = whole.rfind(b"\xff\xda"), whole.rfind(b"\xff\xd9")
    many = whole[:end] + whole[at:end] * 9000 + whole[end:]

    assert verify.prove(from_bytes(whole))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "MAX_SCANNED", 16 * 12 * 1000)
        assert "scans is more than is decoded" in reason(many)
