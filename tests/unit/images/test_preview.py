"""A preview is small, looks like its image, tells nothing else, and is never worth an error."""

from __future__ import annotations

import base64
import io
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from airflow_provider_oxen.images import preview as module
from airflow_provider_oxen.images import verify
from airflow_provider_oxen.images.fetched import from_bytes
from airflow_provider_oxen.images.preview import LARGE, SMALL, Size

from .conftest import picture

GROUND = (238, 238, 238)
PRIVATE = "taken at home by a camera of its own"
RED, BLUE = (220, 30, 40), (20, 40, 200)

Colour = tuple[int, ...]


def preview(file: Any, size: Size = SMALL) -> str | None:
    """Return what is made of an image while it is proved."""
    got = from_bytes(file.getvalue())
    return verify.prove(got, lambda image: module.preview(image, size)).preview


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def halves(size: tuple[int, int], left: Any = RED, right: Any = BLUE, mode: str = "RGB") -> Image.Image:
    """Return an image of two colours, side by side."""
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def decoded(told: str | None, size: Size = SMALL) -> tuple[Image.Image, bytes]:
    """Return a preview as an image, and its bytes, which are few and no other format."""
    assert told is not None
    head, _, text = told.partition(",")
    assert head == f"data:image/{size.kind.lower()};base64"
    content = base64.b64decode(text, validate=True)
    assert len(content) <= size.limit
    image = Image.open(io.BytesIO(content), formats=[size.kind])
    image.load()
    return image, content


def shown(content: bytes, size: Size = SMALL) -> Image.Image:
    return decoded(preview(io.BytesIO(content), size), size)[0]


in_both_sizes = pytest.mark.parametrize("large", [False, True], ids=["small", "large"])


def size_of(large: bool) -> Size:
    return LARGE if large else SMALL


def sides(image: Image.Image) -> list[Colour]:
    """Return the colours in the middle of the left and of the right half."""
    coloured, y = image.convert("RGB"), image.height // 2
    found = [coloured.getpixel((x, y)) for x in (image.width // 4, 3 * image.width // 4)]
    return [pixel for pixel in found if isinstance(pixel, tuple)]


def is_like(found: Colour, wanted: Colour, within: int = 12) -> bool:
    return all(abs(mine - theirs) <= within for mine, theirs in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
@pytest.mark.parametrize("size", [(256, 256), (300, 200), (640, 960), (1024, 1024)])
@in_both_sizes
def test_every_known_format_is_shown_in_its_shape_and_colours(kind, size, large):
    small = shown(encoded(halves(size), kind), size_of(large))

    assert max(small.size) == (256 if large else 128)
    assert small.width / small.height == pytest.approx(size[0] / size[1], abs=0.02)
    left, right = sides(small)
    assert is_like(left, RED)
    assert is_like(right, BLUE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    ("size", "small"),
    [
        ((16, 12), (16, 12)),
        ((1, 1), (1, 1)),
        ((128, 128), (128, 128)),
        ((129, 40), (128, 40)),
        ((5000, 3), (128, 1)),
        ((3, 5000), (1, 128)),
        ((255, 257), (127, 128)),
    ],
)
def test_no_shape_is_too_odd_and_small_images_stay_as_they_are(kind, size, small):
    assert shown(encoded(halves(size), kind)).size == small


MODES: dict[str, tuple[Callable[[], bytes], Colour, Colour]] = {
    "grey jpeg": (lambda: encoded(halves((400, 400), 40, 200, "L"), "JPEG"), (40,) * 3, (200,) * 3),
    "cmyk jpeg": (lambda: encoded(halves((400, 400)).convert("CMYK"), "JPEG"), RED, BLUE),
    "progressive jpeg": (lambda: encoded(halves((400, 400)), "JPEG", progressive=True), RED, BLUE),
    "palette": (lambda: encoded(halves((400, 400)).quantize(4), "PNG"), RED, BLUE),
    "bits": (lambda: encoded(halves((400, 400), 0, 1, "1"), "PNG"), (0,) * 3, (255,) * 3),
    "grey": (lambda: encoded(halves((400, 400), 40, 200, "L"), "PNG"), (40,) * 3, (200,) * 3),
    "16 bits": (
        lambda: encoded(halves((400, 400), 40 * 257, 200 * 257, "I;16"), "PNG"),
        (40,) * 3,
        (200,) * 3,
    ),
    "grey with alpha": (
        lambda: encoded(halves((400, 400), (40, 255), (40, 0), "LA"), "PNG"),
        (40,) * 3,
        GROUND,
    ),
    "alpha": (lambda: encoded(halves((400, 400), (*RED, 255), (*RED, 0), "RGBA"), "PNG"), RED, GROUND),
    "small alpha": (lambda: encoded(halves((40, 40), (*RED, 255), (*RED, 0), "RGBA"), "PNG"), RED, GROUND),
    "webp alpha": (
        lambda: encoded(halves((400, 400), (*RED, 255), (*RED, 0), "RGBA"), "WEBP", lossless=True),
        RED,
        GROUND,
    ),
    "half transparent": (
        lambda: encoded(halves((400, 400), (0, 0, 0, 128), (0, 0, 0, 255), "RGBA"), "PNG"),
        (119,) * 3,
        (0,) * 3,
    ),
    "one colour is transparent": (
        lambda: encoded(halves((400, 400)), "PNG", transparency=BLUE),
        RED,
        GROUND,
    ),
    "palette with transparency": (
        lambda: encoded(halves((400, 400), (*RED, 255), (*RED, 0), "RGBA").quantize(4), "PNG"),
        RED,
        GROUND,
    ),
    "gif with transparency": (
        lambda: encoded(halves((400, 400), (*RED, 255), (*RED, 0), "RGBA"), "GIF"),
        RED,
        GROUND,
    ),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_kind_of_pixel_is_shown_and_transparency_lies_on_grey(mode):
    make, left, right = MODES[mode]
    content = make()
    verify.prove(from_bytes(content))

    small = shown(content)
    assert small.mode in ("RGB", "L")
    found = sides(small)
    assert is_like(found[0], left)
    assert is_like(found[1], right)


def test_a_transparent_colour_leaves_no_trace_beside_others():
    stripes = Image.new("RGB", (400, 400), RED)
    for x in range(0, 400, 2):
        stripes.paste(BLUE, (x, 0, x + 1, 400))
    mixed = tuple((mine + ground) // 2 for mine, ground in zip(RED, GROUND, strict=True))

    found = sides(shown(encoded(stripes, "PNG", transparency=BLUE)))
    assert all(is_like(side, mixed, within=20) for side in found)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_shows_its_first_frame(kind):
    frames = [Image.new("RGB", (200, 200), colour) for colour in (RED, BLUE, BLUE)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])

    assert all(is_like(side, RED) for side in sides(shown(content)))


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P")])
def test_an_image_lies_as_a_viewer_turns_it(kind, mode):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    small = shown(encoded(halves((400, 200)).convert(mode), kind, exif=exif))

    assert small.size == (64, 128)
    assert is_like(small.convert("RGB").getpixel((24, 12)), RED)  # type: ignore[arg-type]


@in_both_sizes
@pytest.mark.parametrize("size", [(40, 30), (400, 300)])
def test_nothing_but_the_pixels_gets_into_a_preview(size, large):
    exif = Image.Exif()
    exif[0x010E] = PRIVATE
    told = {"exif": exif, "comment": PRIVATE.encode(), "icc_profile": PRIVATE.encode() * 10}
    content = encoded(halves(size), "JPEG", **told)
    assert content.count(PRIVATE.encode()) > 10

    image, small = decoded(preview(io.BytesIO(content), size_of(large)), size_of(large))
    assert PRIVATE.encode() not in small
    assert not image.getexif()
    assert not set(image.info) & set(told)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("side", [128, 1000])
@in_both_sizes
def test_pure_noise_keeps_to_the_limit(kind, side, large):
    noise = Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))

    small = shown(encoded(noise, kind, **({"quality": 95} if kind == "JPEG" else {})), size_of(large))
    assert max(small.size) == min(side, 256 if large else 128)


def test_what_cannot_be_made_small_enough_is_left_out():
    assert preview(io.BytesIO(picture("PNG")), SMALL._replace(limit=100)) is None


# Whatever comes.


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF"])
def test_the_file_is_left_at_its_beginning(kind):
    got = from_bytes(picture(kind, (200, 100)))

    assert verify.prove(got, module.preview).preview
    assert got.file.tell() == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("size", [(40, 30), (400, 300)])
def test_the_image_is_not_changed(mode, size):
    image = halves(size).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"exif": exif.tobytes(), "comment": PRIVATE}
    before = image.tobytes()

    assert module.preview(image)
    assert (image.tobytes(), image.size, image.info["comment"]) == (before, size, PRIVATE)


def test_what_cannot_be_made_smaller_is_no_error(monkeypatch):
    def fail(*_: Any) -> None:
        raise MemoryError("no memory left")

    monkeypatch.setattr(Image.Image, "save", fail)

    assert module.preview(halves((40, 30))) is None


def test_many_threads_make_the_same_previews():
    contents = [encoded(halves((300 + n, 200)), kind) for n in range(16) for kind in ("JPEG", "PNG", "WEBP")]
    alone = [preview(io.BytesIO(content)) for content in contents]
    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(lambda content: preview(io.BytesIO(content)), contents * 4))

    assert None not in alone
    assert together == alone * 4


def test_pillow_is_loaded_when_it_is_used():
    code = "import sys, airflow_provider_oxen.images.preview; sys.exit('PIL' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
