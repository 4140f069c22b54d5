"""Pictures of the interface: those of the documentation when asked for, else beside the test's logs."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

ROOT = Path(__file__).resolve().parents[2]

BUILD = ROOT / "build" / "e2e"
"""All that a run leaves behind; ignored by git."""

FOLDER = ROOT / "docs" / "images" if os.environ.get("SCREENSHOTS") == "1" else BUILD
"""``make e2e SCREENSHOTS=1`` refreshes the pictures of the documentation."""

LARGEST = 200_000
"""Bytes of a picture at most: they are in the repository for good."""

_PLAIN = 40_000
"""Bytes up to which a picture keeps all its colours."""


def take(shown: Page | Locator, name: str) -> None:
    """Write what a page shows, or one thing on it, to ``name``.png."""
    page = shown if isinstance(shown, Page) else shown.page
    # What the mouse is over looks different.
    page.mouse.move(0, 0)
    shot = Image.open(io.BytesIO(shown.screenshot(animations="disabled", caret="hide"))).convert("RGB")
    content = _png(shot)
    if len(content) > _PLAIN:
        # Half the bytes, and no difference that one sees.
        palette = shot.quantize(256, kmeans=3)
        content = _png(shot.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG))
    assert len(content) <= LARGEST, f"{name}.png has {len(content)} bytes"
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(content)


def colour(page: Page, x: float, y: float) -> tuple[int, ...]:
    """Return the colour that a page shows at a place, in CSS pixels."""
    shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    pixel = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()
