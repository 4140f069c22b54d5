"""Find the images of an answer, in any known format: each a link, or the base64 text of its bytes. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST_LINK", "bare_of", "images_of", "item_of", "link_of"]

LONGEST_LINK = 16_384
"""Longest link that is accepted, in characters; servers and records take no longer one."""

_DEEPEST = 8
"""How many levels of an answer are searched."""

_LINKS = ("url", "image_url", "result_url", "output_url", "download_url", "signed_url", "link", "href", "uri")
_TEXTS = ("b64_json", "b64", "base64", "image_base64", "image_b64")
_INSIDE = ("image", "data", "file", "result", "output")
_PLACES = (
    "images", "image", "data", "output", "outputs", "result", "results", "generations", "generation",
    "response", "image_urls", "urls",
)  # fmt: skip
"""Where images may stand in an answer; the hub's documented place first."""

_IS_LINK = re.compile(r"(https?:)?//|\.{0,2}/|[^\s?]+\.(png|jpe?g|webp|avif|gif)(\?|$)", re.IGNORECASE)

_IS_IMAGE = re.compile(
    # How the formats begin in base64 of either alphabet, also percent-encoded.
    r"(data:|b['\"])|['\"\s]*(iVBORw0KG|([/_]|%2F)9j([/_]|%2F)|R0lGOD|UklGR|AAAA.GZ0eX|SUkq|TU0A)",
    re.IGNORECASE,
)

_LONG = 256
"""From this many characters, a text without white space that is not a link counts as base64."""


def images_of(answer: Any, depth: int = 0) -> list[dict[str, Any] | None]:
    """Return the images of an answer in its order, with None for each item that is not an image."""
    if depth > _DEEPEST:
        return []
    if isinstance(answer, list):
        found: list[dict[str, Any] | None] = []
        for each in answer:
            found += [item] if (item := item_of(each)) else images_of(each, depth + 1) or [None]
        return found
    if isinstance(answer, Mapping):
        for place in _PLACES:
            if any(found := images_of(answer.get(place), depth + 1)):
                return found
    item = item_of(answer)
    return [item] if item else []


def item_of(value: Any, depth: int = 0) -> dict[str, Any] | None:
    """Return one image in the hub's documented format, or None if the value is not an image."""
    if isinstance(value, str):
        return _of_text(value)
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return None
    found: dict[str, Any] = {}
    for key in (*_TEXTS, *_LINKS):
        told = value.get(key)
        found = _of_text(told, key) if isinstance(told, str) else item_of(told, depth + 1) or {}
        if found:
            break
    for key in () if found else _INSIDE:
        if found := item_of(value.get(key), depth + 1) or {}:
            break
    both = value.get("url") if "b64_json" in found else None
    if isinstance(both, str) and (link := _of_text(both, "url")):
        found = link | found
    return found | {"revised_prompt": value.get("revised_prompt")} if found else None


def bare_of(body: bytes) -> dict[str, Any] | None:
    """Return the answer that a body without JSON stands for: an image, its base64 text, or a link."""
    if body.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")) or body[4:8] == b"ftyp":
        return {"images": [{"b64_json": base64.b64encode(body).decode()}]}
    text = body.strip()
    if text.isascii() and (_IS_IMAGE.match(head := text[:64].decode()) or re.match("https?://", head)):
        return {"images": [text.decode()]}
    return None


def link_of(value: Any) -> str | None:
    """Return the first link in a value, or None."""
    links = (item.get("url") for item in images_of(value) if item)
    return next((link for link in links if link), None)


def _of_text(text: str, key: str = "") -> dict[str, Any]:
    """Return what a text is. Under a key that names its kind, it need not look like it."""
    text = text.strip()
    if not text:
        return {}
    if _IS_IMAGE.match(text):
        return {"b64_json": text}
    if key in _LINKS or _IS_LINK.match(text):
        return {"url": text} if len(text) <= LONGEST_LINK else {}
    if key in _TEXTS or (len(text) >= _LONG and not re.search(r"[^\S\r\n]", text)):
        return {"b64_json": text}
    return {}
